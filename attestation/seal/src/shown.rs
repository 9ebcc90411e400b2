//! Text of somebody else's on a terminal.

/// Text that a terminal shows as it is: control characters, and those that turn or hide what stands
/// around them, become U+FFFD.
#[must_use]
pub fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() || misleads(c) {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().map(shown).collect()
}

/// Characters of no width, of direction, and of language tags (Unicode, general category Cf, Zl and
/// Zp).
const fn misleads(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_upon_is_not_shown() {
        assert_eq!(printable("a = 1, ü, 日本"), "a = 1, ü, 日本");
        for hostile in [
            "\u{1b}[2J",
            "\u{9b}2J",
            "\r\n",
            "\u{202e}",
            "\u{2066}",
            "\u{200b}",
        ] {
            let shown = printable(hostile);
            assert!(shown.contains('\u{fffd}'), "{hostile:?}");
            assert_eq!(shown.chars().count(), hostile.chars().count());
            assert!(!shown.contains(['\u{1b}', '\u{9b}', '\r', '\n', '\u{202e}', '\u{2066}']));
        }
    }
}
