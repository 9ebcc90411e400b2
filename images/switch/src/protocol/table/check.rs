//! What has to hold after whatever happened.

use super::Table;

impl<H> Table<H> {
    /// Panics when what the table holds contradicts itself or its limits.
    pub fn assert_consistent(&self) {
        let limits = &self.config.limits;
        let windows: usize = self
            .entries
            .iter()
            .map(|(_, entry)| entry.stream.window() as usize)
            .sum();
        assert_eq!(windows, self.reserved);
        assert!(
            self.reserved <= limits.buffer_budget,
            "windows beyond the budget"
        );
        assert!(
            self.entries.len() <= limits.streams,
            "streams beyond the limit"
        );
        assert!(
            self.controls.len() <= self.entries.len(),
            "control queue grows"
        );
        assert!(
            self.senders.len() <= self.entries.len(),
            "sender queue grows"
        );
        let attached = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.attached)
            .count();
        assert_eq!(attached, self.keys.len());
        for (id, entry) in self.entries.iter() {
            assert!(
                entry.stream.held() <= entry.stream.window(),
                "more held than the window"
            );
            assert_eq!(self.controls.contains(&id), entry.in_controls);
            assert_eq!(self.senders.contains(&id), entry.in_senders);
            assert!(!entry.attached || self.keys.get(&entry.key) == Some(&id));
            assert!(
                !entry.attached || entry.in_controls || !entry.stream.has_control(),
                "a packet for the guest is forgotten"
            );
            assert!(
                entry.in_senders || entry.sendable() == 0,
                "a stream that could send is forgotten"
            );
        }
    }
}
