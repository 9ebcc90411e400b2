//! Any bytes as a request and as a response: no panic, and what decodes survives its encoding.
#![no_main]

use anchorhold_document::nsm::{Request, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::from_cbor(bytes) {
        assert_eq!(Request::from_cbor(&request.to_cbor()).as_ref(), Ok(&request));
    }
    if let Ok(response) = Response::from_cbor(bytes) {
        assert_eq!(Response::from_cbor(&response.to_cbor()).as_ref(), Ok(&response));
    }
});
