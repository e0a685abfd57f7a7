use super::check::check;
use super::*;

fn plan() -> Plan {
    Plan {
        host_uid: Some(900_001),
        ..Plan::new(vec!["/bin/true".to_owned()])
    }
}

fn bind(to: &str) -> Bind {
    Bind {
        from: "/usr/lib".into(),
        to: to.into(),
        writable: false,
        executable: false,
    }
}

fn refused(change: impl FnOnce(&mut Plan)) -> PlanError {
    let mut plan = plan();
    change(&mut plan);
    check(&plan, plan.copies.len(), 0).unwrap_err()
}

#[test]
fn a_plan_survives_its_wire_form_and_refuses_unknown_keys() {
    let mut plan = plan();
    plan.binds.push(bind("/usr/lib"));
    plan.door = Some(Door {
        tcp_port: 8720,
        unix_path: "/run/aims/door.sock".into(),
    });
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    let odd = r#"{"argv":["/x"],"workdir":"/","weaker":true}"#;
    assert!(serde_json::from_str::<Plan>(odd).is_err());
}

#[test]
fn root_must_reserve_a_uid_and_others_cannot_take_one() {
    let mut plan = plan();
    assert_eq!(check(&plan, 0, 0), Ok(()));
    assert_eq!(
        check(&plan, 0, 1000),
        Err(PlanError::HostUidUnprivileged(900_001))
    );
    for uid in [0, 1000, 65_534, u32::MAX, u32::MAX - 1] {
        plan.host_uid = Some(uid);
        assert_eq!(
            check(&plan, 0, 0),
            Err(PlanError::HostUidRange(uid)),
            "{uid}"
        );
    }
    plan.host_uid = None;
    assert_eq!(check(&plan, 0, 0), Err(PlanError::HostUidMissing));
    assert_eq!(check(&plan, 0, 1000), Ok(()));
}

#[test]
fn places_never_nest_and_never_touch_what_the_walls_make() {
    for (first, second) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b/c", "/a")] {
        let error = refused(|plan| plan.binds = vec![bind(first), bind(second)]);
        assert!(
            matches!(error, PlanError::Overlap { .. }),
            "{first} {second}"
        );
    }
    for place in ["/proc", "/proc/sys", "/dev/kvm", "/tmp/x"] {
        let error = refused(|plan| plan.binds = vec![bind(place)]);
        assert_eq!(error, PlanError::Reserved(place.into()));
    }
    let siblings = Plan {
        binds: vec![bind("/a/b"), bind("/a/bc"), bind("/a/c")],
        ..plan()
    };
    assert_eq!(check(&siblings, 0, 0), Ok(()));
}

#[test]
fn nested_places_are_found_even_when_a_sibling_sorts_between_them() {
    let error = refused(|plan| plan.binds = vec![bind("/a"), bind("/a-b"), bind("/a/b")]);
    assert!(matches!(error, PlanError::Overlap { .. }));
}

#[test]
fn paths_are_absolute_and_say_where_they_lead() {
    for path in ["", "a", "./a", "/a/../b", "/a/./b", "/"] {
        assert!(matches!(
            refused(|plan| plan.binds = vec![bind(path)]),
            PlanError::Path(_)
        ));
    }
}

#[test]
fn code_is_never_writable() {
    let error = refused(|plan| {
        plan.binds = vec![Bind {
            writable: true,
            executable: true,
            ..bind("/x")
        }];
    });
    assert_eq!(error, PlanError::WritableCode("/x".into()));
}

#[test]
fn a_door_is_the_instances_own() {
    let door = Door {
        tcp_port: 8720,
        unix_path: "/run/aims/door.sock".into(),
    };
    let error = refused(|plan| {
        plan.network = Network::Host;
        plan.door = Some(door.clone());
    });
    assert_eq!(error, PlanError::DoorOnHostNetwork);
    let error = refused(|plan| {
        plan.door = Some(Door {
            tcp_port: 80,
            ..door.clone()
        });
    });
    assert_eq!(error, PlanError::DoorPort(80));
}

#[test]
fn limits_texts_and_sources_are_checked() {
    assert_eq!(
        refused(|plan| plan.limits.tmp_bytes = 0),
        PlanError::Limit("tmp_bytes")
    );
    assert_eq!(refused(|plan| plan.argv.clear()), PlanError::NoProgram);
    let error = refused(|plan| drop(plan.env.insert("A=B".to_owned(), String::new())));
    assert_eq!(error, PlanError::Text("A=B".to_owned()));
    assert_eq!(
        check(&plan(), 1, 0),
        Err(PlanError::Sources {
            copies: 0,
            sources: 1
        })
    );
}
