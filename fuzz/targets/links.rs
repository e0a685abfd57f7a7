//! What server, nodes and gateways say to each other: what is understood is said again, understood
//! again, and then said as the same. The first byte chooses the message.
#![no_main]

use aims_grpc_api::fuzzing::said_again;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((which, bytes)) = input.split_first() else {
        return;
    };
    if let Some(once) = said_again(*which, bytes) {
        let twice = said_again(*which, &once).expect("what is said is understood");
        assert_eq!(twice, once);
    }
});
