//! Text of callers and policies in messages.

/// `text` as a message shows it: at most 128 characters, control characters replaced.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 128;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(LONGEST).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn messages_stay_short_and_on_one_line() {
        assert_eq!(shown(&"é".repeat(1000)), "é".repeat(128));
        assert_eq!(shown("a\r\nb\u{1b}[31m"), "a\u{fffd}\u{fffd}b\u{fffd}[31m");
    }
}
