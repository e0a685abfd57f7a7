use aims_types::Name;
use proptest::prelude::*;

use super::*;

fn limits(uses: u64, count: u32, max: &str) -> Limits {
    let sum = Sum::new("n".parse().unwrap(), max.parse().unwrap());
    let limits = Limits::default()
        .with_uses(uses)
        .unwrap()
        .with_sums(vec![sum])
        .unwrap();
    limits.with_rate(Rate::new(count, 10).unwrap())
}

fn reserve(
    ledger: &mut Ledger,
    limits: &Limits,
    arguments: &Object,
    secs: u64,
) -> Result<Reservation, Rule> {
    let server: Name = "bank".parse().unwrap();
    let call = Call::Tool {
        server: &server,
        tool: "pay",
        arguments,
    };
    let reserved = ledger.reserve(limits, &call, Timestamp::from_unix_secs(secs));
    reserved.map_err(|refusal| refusal.rule())
}

fn paying(amount: &str) -> Object {
    Object::new().with(
        "n",
        aims_json::Number::from_decimal(amount.parse().unwrap()),
    )
}

#[test]
fn calls_in_flight_count() {
    let (mut ledger, limits) = (Ledger::new(), limits(2, 100, "100"));
    let first = reserve(&mut ledger, &limits, &paying("1"), 0).unwrap();
    let second = reserve(&mut ledger, &limits, &paying("1"), 0).unwrap();
    assert_eq!(
        reserve(&mut ledger, &limits, &paying("1"), 0),
        Err(Rule::UsesExhausted)
    );
    ledger.settle(first.number()).unwrap();
    assert_eq!(
        reserve(&mut ledger, &limits, &paying("1"), 0),
        Err(Rule::UsesExhausted)
    );
    ledger.release(second.number()).unwrap();
    assert!(reserve(&mut ledger, &limits, &paying("1"), 0).is_ok());
    assert_eq!(
        ledger.settle(first.number()),
        Err(LedgerError::NotInFlight { number: 0 })
    );
    assert_eq!((ledger.uses(), ledger.in_flight().len()), (2, 1));
}

#[test]
fn sums_are_exact_and_only_grow_by_numbers_from_zero_up() {
    let (mut ledger, limits) = (Ledger::new(), limits(100, 100, "0.3"));
    for _ in 0..3 {
        reserve(&mut ledger, &limits, &paying("0.1"), 0).unwrap();
    }
    let tiny = paying("0.0000000000000000000000000001");
    assert_eq!(
        reserve(&mut ledger, &limits, &tiny, 0),
        Err(Rule::SumExceeded)
    );
    assert!(reserve(&mut ledger, &limits, &paying("0"), 0).is_ok());
    assert_eq!(
        reserve(&mut ledger, &limits, &paying("-1"), 0),
        Err(Rule::SumNotCountable)
    );
    for value in [Value::Null, "1".into(), Value::Array(vec![])] {
        let arguments = Object::new().with("n", value);
        assert_eq!(
            reserve(&mut ledger, &limits, &arguments, 0),
            Err(Rule::SumNotCountable)
        );
    }
    assert_eq!(ledger.total("n").to_string(), "0.3");
    assert!(reserve(&mut ledger, &limits, &Object::new(), 0).is_ok());
}

#[test]
fn the_rates_period_slides_and_the_clock_cannot_turn_it_back() {
    let (mut ledger, limits) = (Ledger::new(), limits(100, 2, "100"));
    let none = Object::new();
    for (secs, expect) in [
        (0, true),
        (9, true),
        (9, false),
        (10, true),
        (18, false),
        (19, true),
        (5, false),
        (28, true),
        (28, false),
        (29, true),
    ] {
        assert_eq!(
            reserve(&mut ledger, &limits, &none, secs).is_ok(),
            expect,
            "{secs}"
        );
    }
}

#[test]
fn entries_out_of_order_are_refused_and_change_nothing() {
    let mut ledger = Ledger::new();
    let reservation = reserve(&mut ledger, &limits(9, 9, "9"), &paying("1"), 0).unwrap();
    let before = ledger.clone();
    let again = ledger.apply(&Entry::Reserved(reservation));
    assert_eq!(again, Err(LedgerError::OutOfOrder { number: 0, next: 1 }));
    assert!(
        ledger.apply(&Entry::Settled(7)).is_err() && ledger.apply(&Entry::Released(7)).is_err()
    );
    assert_eq!(ledger, before);
}

#[test]
fn a_reservation_reads_back_from_its_json_form() {
    let mut ledger = Ledger::new();
    let made = reserve(&mut ledger, &limits(9, 9, "9"), &paying("1.50"), 7).unwrap();
    let expect = r#"{"number":0,"at":7000,"amounts":{"n":"1.5"}}"#;
    assert_eq!(made.to_value().to_string(), expect);
    assert_eq!(Reservation::from_value(&made.to_value()), Ok(made));
    for bad in [
        r#"{"number":0,"at":1}"#,
        r#"{"number":0,"at":1,"amounts":{"n":"-1"}}"#,
        "1",
    ] {
        let bad = aims_json::parse(bad.as_bytes(), &aims_json::Limits::MESSAGE).unwrap();
        assert_eq!(Reservation::from_value(&bad), Err(ReservationError));
    }
}

/// A call of the model: when, how much in hundredths, and whether it is still counted.
struct Made {
    number: u64,
    at: u64,
    cents: u64,
    open: bool,
    counted: bool,
}

proptest! {
    #[test]
    fn no_interleaving_passes_a_limit(
        uses in 0_u64..8, count in 1_u32..5, max in 0_u64..2000,
        steps in proptest::collection::vec((0_u8..4, 0_u64..500, 0_u64..6, any::<prop::sample::Index>()), 0..60),
    ) {
        let decimal = |cents: u64| Decimal::new(cents.into(), 2).unwrap();
        let limits = limits(uses, count, &decimal(max).to_string());
        let (mut ledger, mut replayed, mut model) = (Ledger::new(), Ledger::new(), Vec::<Made>::new());
        let mut now = 0;
        for (step, cents, pause, pick) in steps {
            now += pause;
            let open: Vec<usize> = (0..model.len()).filter(|i| model[*i].open).collect();
            if step < 2 || open.is_empty() {
                let counted = || model.iter().filter(|m| m.counted);
                let fits = u64::try_from(counted().count()).unwrap() < uses
                    && counted().filter(|m| m.at + 10 > now).count() < usize::try_from(count).unwrap()
                    && counted().map(|m| m.cents).sum::<u64>() + cents <= max;
                let made = reserve(&mut ledger, &limits, &paying(&decimal(cents).to_string()), now);
                prop_assert_eq!(made.is_ok(), fits);
                if let Ok(made) = made {
                    replayed.apply(&Entry::Reserved(made.clone())).unwrap();
                    model.push(Made { number: made.number(), at: now, cents, open: true, counted: true });
                }
            } else {
                let made = &mut model[*pick.get(&open)];
                made.open = false;
                made.counted = step == 2;
                let entry = if step == 2 { Entry::Settled(made.number) } else { Entry::Released(made.number) };
                ledger.apply(&entry).unwrap();
                replayed.apply(&entry).unwrap();
            }
            let next = |ledger: &Ledger| reserve(&mut ledger.clone(), &limits, &paying("0.1"), now);
            prop_assert_eq!(next(&ledger), next(&replayed));
            let total = model.iter().filter(|m| m.counted).map(|m| m.cents).sum::<u64>();
            prop_assert_eq!(ledger.total("n"), decimal(total));
            prop_assert!(total <= max && ledger.uses() <= uses);
        }
    }
}
