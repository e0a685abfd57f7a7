//! Grants, requests, consents and reservations: what is read is written as the same.
#![no_main]

use aims_authority::Reservation;
use aims_json::{Limits, parse};
use aims_model::grant::{Consent, DelegationRequest, Grant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(grant) = Grant::from_claims(bytes) {
        assert_eq!(
            Grant::from_claims(&grant.to_claims().unwrap()).unwrap(),
            grant
        );
    }
    if let Ok(request) = DelegationRequest::from_claims(bytes) {
        let again = request.to_claims().unwrap();
        assert_eq!(DelegationRequest::from_claims(&again).unwrap(), request);
    }
    if let Ok(consent) = Consent::from_claims(bytes) {
        assert_eq!(
            Consent::from_claims(&consent.to_claims().unwrap()).unwrap(),
            consent
        );
    }
    if let Ok(value) = parse(bytes, &Limits::TOKEN)
        && let Ok(reservation) = Reservation::from_value(&value)
    {
        let again = reservation.to_value();
        assert_eq!(Reservation::from_value(&again).unwrap(), reservation);
    }
});
