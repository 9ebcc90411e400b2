//! `*` and `?`, matched in time linear in the text.
//!
//! A pattern is cut at its `*`s. The first part must stand at the text's beginning, the last at
//! its end, and each of the others is taken where it first occurs after the one before: taking the
//! first occurrence never loses a match. Occurrences are found by a bit-parallel automaton
//! (Baeza-Yates and Gonnet, "A new approach to text searching", 1992), which takes one step per
//! character whatever the pattern, so that no pattern and text can make it backtrack.

/// One element of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// This character.
    Char(char),
    /// `?`: any one character.
    One,
    /// `*`: any characters, none included.
    Many,
}

impl Token {
    /// Whether this element, which is not `*`, takes `c`.
    fn takes(self, c: char) -> bool {
        match self {
            Self::Char(own) => own == c,
            Self::One => true,
            Self::Many => false,
        }
    }
}

/// The tokens of a pattern in which `*` and `?` have their meaning and nothing else has any.
pub(super) fn tokens(pattern: &str) -> Vec<Token> {
    pattern
        .chars()
        .map(|c| match c {
            '*' => Token::Many,
            '?' => Token::One,
            c => Token::Char(c),
        })
        .collect()
}

/// What the tokens are written as; the inverse of [`tokens`] for what holds no wildcard.
pub(super) fn text(tokens: &[Token]) -> String {
    let character = |token: &Token| match token {
        Token::Char(c) => *c,
        Token::One => '?',
        Token::Many => '*',
    };
    tokens.iter().map(character).collect()
}

/// Whether `pattern` matches the whole of `text`.
pub(super) fn matches(pattern: &[Token], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let parts: Vec<&[Token]> = pattern.split(|token| *token == Token::Many).collect();
    let (Some((first, rest)), text) = (parts.split_first(), text.as_slice()) else {
        return text.is_empty();
    };
    let Some((last, middle)) = rest.split_last() else {
        return text.len() == first.len() && takes(first, text);
    };
    let Some(mut text) = text.get(first.len()..).filter(|_| takes(first, text)) else {
        return false;
    };
    for part in middle {
        match find(part, text) {
            Some(end) => text = text.get(end..).unwrap_or_default(),
            None => return false,
        }
    }
    let Some(start) = text.len().checked_sub(last.len()) else {
        return false;
    };
    text.get(start..).is_some_and(|tail| takes(last, tail))
}

/// Whether `text` begins with what `part` takes.
fn takes(part: &[Token], text: &[char]) -> bool {
    part.len() <= text.len() && part.iter().zip(text).all(|(token, c)| token.takes(*c))
}

/// Where the first occurrence of `part` in `text` ends.
fn find(part: &[Token], text: &[char]) -> Option<usize> {
    let Some(last) = part.len().checked_sub(1) else {
        return Some(0);
    };
    let masks = Masks::new(part);
    // Bit i of the state: the i+1 first tokens take the characters up to here.
    let mut state = vec![0u64; masks.words];
    for (index, c) in text.iter().enumerate() {
        let mut carry = 1;
        for (word, mask) in state.iter_mut().zip(masks.of(*c)) {
            let shifted = (*word << 1) | carry;
            carry = *word >> 63;
            *word = shifted & mask;
        }
        if state
            .get(last / 64)
            .is_some_and(|word| word >> (last % 64) & 1 == 1)
        {
            return Some(index + 1);
        }
    }
    None
}

/// For each character, which tokens take it: one bit per token.
struct Masks {
    words: usize,
    chars: Vec<char>,
    /// `words` for each character of `chars`, and `words` for every other character.
    bits: Vec<u64>,
}

impl Masks {
    fn new(part: &[Token]) -> Self {
        let words = part.len().div_ceil(64);
        let mut chars: Vec<char> = part
            .iter()
            .filter_map(|token| match token {
                Token::Char(c) => Some(*c),
                _ => None,
            })
            .collect();
        chars.sort_unstable();
        chars.dedup();
        let mut bits = Vec::with_capacity((chars.len() + 1) * words);
        for c in &chars {
            bits.extend(Self::row(part, |token| token.takes(*c)));
        }
        bits.extend(Self::row(part, |token| token == Token::One));
        Self { words, chars, bits }
    }

    fn row(part: &[Token], takes: impl Fn(Token) -> bool) -> impl Iterator<Item = u64> {
        part.chunks(64).map(move |chunk| {
            let bit = |(index, token): (usize, &Token)| u64::from(takes(*token)) << index;
            chunk
                .iter()
                .enumerate()
                .map(bit)
                .fold(0, |word, bit| word | bit)
        })
    }

    fn of(&self, c: char) -> &[u64] {
        let row = self.chars.binary_search(&c).unwrap_or(self.chars.len());
        self.bits.chunks(self.words).nth(row).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn like(pattern: &str, text: &str) -> bool {
        matches(&tokens(pattern), text)
    }

    /// The definition, taken literally; exponential.
    fn reference(pattern: &[Token], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((Token::Many, rest)), _) => {
                (0..=text.len()).any(|skip| reference(rest, &text[skip..]))
            }
            (Some(_), None) => false,
            (Some((token, rest)), Some((c, more))) => token.takes(*c) && reference(rest, more),
        }
    }

    #[test]
    fn near_misses_do_not_match() {
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("?", "ab"),
            ("a*", "ba"),
            ("*a", "ab"),
            ("ab*ba", "aba"),
            ("a*b*c", "acb"),
            ("kms:Decrypt", "kms:DecryptX"),
            ("**a", "b"),
            ("a?c", "ac"),
        ] {
            assert!(!like(pattern, text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn matches_are_found() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("**", "x"),
            ("a*", "a"),
            ("*b?d*", "abxbcd-"),
            ("ab*ba", "abba"),
            ("a?c", "aéc"),
            ("*aab*", "aaab"),
            (
                "arn:aws:kms:*:111122223333:key/*",
                "arn:aws:kms:eu-1:111122223333:key/x",
            ),
        ] {
            assert!(like(pattern, text), "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn long_parts_cross_the_words_of_the_automaton() {
        let part = format!("{}?{}", "a".repeat(100), "b".repeat(40));
        let pattern = format!("*{part}*");
        let text = |middle: &str| format!("{}{middle}{}", "a".repeat(300), "b".repeat(300));
        assert!(like(&pattern, &text("x")));
        assert!(!like(&pattern, &text("xy")));
    }

    /// The CPU time of this thread, to which a busy machine adds nothing. proc_pid_stat(5): `utime`
    /// and `stime`, 14th and 15th, in hundredths of a second; the 2nd is a name in parentheses.
    fn cpu_time() -> Duration {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let times = after_name.split_whitespace().skip(11).take(2);
        let hundredths: u64 = times.map(|time| time.parse::<u64>().unwrap()).sum();
        Duration::from_millis(hundredths * 10)
    }

    /// 2,000 characters of pattern against 200,000 of text: what backtracks needs 4 * 10^8 steps
    /// for each of the stars.
    #[test]
    fn hostile_patterns_take_linear_time() {
        let pattern = format!("*{}b*{}b*", "a?".repeat(500), "?a".repeat(500));
        let text = "a".repeat(200_000);
        let before = cpu_time();
        assert!(!like(&pattern, &text));
        let took = cpu_time() - before;
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab?*]{0,10}", text in "[abc]{0,12}") {
            let tokens = tokens(&pattern);
            let chars: Vec<char> = text.chars().collect();
            prop_assert_eq!(matches(&tokens, &text), reference(&tokens, &chars));
        }

        #[test]
        fn takes_what_it_was_made_from(text in "\\PC{0,40}") {
            let literal: Vec<Token> = text.chars().map(Token::Char).collect();
            prop_assert!(matches(&literal, &text));
            let around = [&[Token::Many], literal.as_slice(), &[Token::Many]].concat();
            let longer = format!("x{text}y");
            prop_assert!(matches(&around, &longer));
        }
    }
}
