//! Certificates and signing requests.
#![no_main]

use aims_x509::{CaCertificate, Svid, SvidRequest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|der: &[u8]| {
    if let Ok(svid) = Svid::from_der(der) {
        assert_eq!(svid.der(), der);
    }
    if let Ok(ca) = CaCertificate::from_der(der) {
        assert_eq!(ca.der(), der);
    }
    let _ = SvidRequest::parse(der);
});
