//! What others write, at random: the fuzz targets' functions, on every test run.

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_url_leads_elsewhere(
        text in "(https?|ftp|HTTPS)?(://|:/|//)?(user@|a:b@)?(api\\.vpsie\\.com|API.VPSIE.COM|127\\.0\\.0\\.1|evil|\\[::1\\])?(\\.|@|%40|#|\\?|\\\\|/|:[0-9]{1,6})?(evil\\.example|apps/v2|\\.\\./x)?"
    ) {
        vpsie::fuzzing::base_url(&text);
    }

    #[test]
    fn no_secret_is_repeated(bytes in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "[ -~]{0,60}\n?".prop_map(String::into_bytes),
    ]) {
        vpsie::fuzzing::credentials(&bytes);
    }

    #[test]
    fn no_body_is_too_odd(text in "\\{\"(error|data|total|message)\":(\\[?\\{?(\"(id|hostname|identifier|ram|cpu|price|nodes|token|accessToken)\":(-?[0-9]{1,25}|1e400|null|\"[0-9a-z.-]{0,20}\"),?){0,6}\\}?\\]?|true|false|9)\\}?") {
        vpsie::fuzzing::decode_body(text.as_bytes());
    }
}
