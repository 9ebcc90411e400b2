//! Hosts that keep pages, and hosts that swap, replay, alter or drop them.

use std::cell::RefCell;
use std::rc::Rc;

use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;
use crate::compute::{self, Analysis, Report};
use crate::contract::{Computation, Contract, Output};
use crate::keys::TagKey;
use crate::reference::Naive;
use crate::table::{Table, TableError, TableReader};
use crate::testing::{self, NAMES, Rows, TestRng, seen};

/// What the host has, and all that it saw: the places put and got, in their order.
#[derive(Default)]
struct Kept {
    pages: Vec<Vec<u8>>,
    put: Vec<u32>,
    got: Vec<u32>,
    /// Earlier pages of the same places.
    old: Vec<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Host(Rc<RefCell<Kept>>);

impl PageStore for Host {
    fn put(&mut self, place: u32, page: &[u8]) -> io::Result<()> {
        let mut kept = self.0.borrow_mut();
        let at = place as usize;
        kept.put.push(place);
        if at < kept.pages.len() {
            let old = std::mem::replace(&mut kept.pages[at], page.to_vec());
            kept.old.push(old);
        } else {
            assert_eq!(at, kept.pages.len(), "places follow each other");
            kept.pages.push(page.to_vec());
        }
        Ok(())
    }

    fn get(&mut self, place: u32, page: &mut Vec<u8>) -> io::Result<()> {
        let mut kept = self.0.borrow_mut();
        kept.got.push(place);
        let found = kept.pages.get(place as usize).cloned();
        *page = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(())
    }
}

const SMALL: Shape = Shape {
    page: MIN_PAGE,
    partitions: 3,
};

fn pages(host: &Host, shape: Shape) -> Pages<'static> {
    Pages::new(host.clone(), shape, &mut TestRng(7)).unwrap()
}

/// Reads files into tables of so many bytes of memory each.
fn tables(
    contract: &Contract,
    files: &[Rows],
    limit: usize,
    pages: &mut Pages<'_>,
) -> Result<Vec<Table>, TableError> {
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let read = |(name, rows): (&&str, &Rows)| {
        let mut reader = TableReader::new(contract, name, &tags, limit, Some(pages))?;
        reader.feed(b"email,amount\n")?;
        for (key, amount) in rows {
            reader.feed(format!("{key},{amount}\n").as_bytes())?;
        }
        reader.finish()
    };
    NAMES.iter().zip(files).map(read).collect()
}

fn run(
    contract: &Contract,
    tables: &[Table],
    pages: &mut Pages<'_>,
) -> Result<Report, compute::ComputeError> {
    compute::run(contract, tables, Some(pages), &mut TestRng(0))
}

fn rows(keys: std::ops::Range<u32>) -> Rows {
    keys.map(|k| (format!("k{k}"), k.to_string())).collect()
}

/// The rule that refuses what a host gives back for what was put away.
fn refused(change: impl FnOnce(&mut Kept)) -> &'static str {
    let contract = testing::contract(|_| {});
    let host = Host::default();
    let mut pages = pages(&host, SMALL);
    let files = [rows(0..400), rows(100..500), rows(0..300)];
    let tables = small_tables(&contract, &files, 100, &mut pages);
    assert!(tables.iter().all(|table| table.runs() > 0));
    change(&mut host.0.borrow_mut());
    run(&contract, &tables, &mut pages).unwrap_err().rule()
}

#[test]
fn pages_that_are_not_those_that_were_put_away() {
    assert_eq!(refused(|kept| kept.pages.swap(0, 1)), "page.swapped");
    // The same partition of another run, and of another table.
    assert_eq!(refused(|kept| kept.pages.swap(0, 3)), "page.swapped");
    assert_eq!(
        refused(|kept| kept.pages[0] = kept.pages[kept.put.len() - 3].clone()),
        "page.swapped"
    );
    assert_eq!(refused(|kept| kept.pages.clear()), "page.store");
    assert_eq!(refused(|kept| kept.pages[4].clear()), "page.missing");
    assert_eq!(
        refused(|kept| kept.pages[4].truncate(MIN_PAGE - 1)),
        "page.missing"
    );
    assert_eq!(refused(|kept| kept.pages[4].push(0)), "page.missing");
    for byte in [HEADER, HEADER + COUNT, MIN_PAGE / 2, MIN_PAGE - 1] {
        assert_eq!(
            refused(|kept| kept.pages[4][byte] ^= 1),
            "page.altered",
            "{byte}"
        );
    }
    // Another page under the name of the one that is asked for.
    assert_eq!(
        refused(|kept| {
            let header = kept.pages[0][..HEADER].to_vec();
            kept.pages[0] = kept.pages[1].clone();
            kept.pages[0][..HEADER].copy_from_slice(&header);
        }),
        "page.altered"
    );
    assert_eq!(
        refused(|kept| kept.pages[0][HEADER - 1] ^= 1),
        "page.replayed"
    );
}

fn put(pages: &mut Pages<'_>, place: u32, id: PageId) {
    let mut page = vec![0; MIN_PAGE - SEAL];
    pages.put(place, id, &mut page).unwrap();
}

#[test]
fn an_earlier_version_of_a_place_is_refused() {
    let host = Host::default();
    let mut pages = pages(&host, SMALL);
    let id = PageId {
        table: 0,
        run: 0,
        partition: 0,
    };
    put(&mut pages, 0, id);
    put(&mut pages, 0, id);
    let mut page = Vec::new();
    pages.open(0, id, &mut page).unwrap();
    {
        let mut kept = host.0.borrow_mut();
        assert_ne!(kept.pages[0], kept.old[0], "no two pages are equal");
        kept.pages[0] = kept.old[0].clone();
    }
    let replayed = pages.open(0, id, &mut page).unwrap_err();
    assert_eq!(replayed.rule(), "page.replayed");
    // With the present version's number on it.
    host.0.borrow_mut().pages[0][HEADER - 1] ^= 1;
    let altered = pages.open(0, id, &mut page).unwrap_err();
    assert_eq!(altered.rule(), "page.altered");
}

#[test]
fn a_page_of_another_run_of_the_analysis_is_refused() {
    let host = Host::default();
    let id = PageId {
        table: 0,
        run: 0,
        partition: 0,
    };
    put(&mut pages(&host, SMALL), 0, id);
    let mut later = Pages::new(host.clone(), SMALL, &mut TestRng(8)).unwrap();
    let theirs = host.0.borrow().pages[0].clone();
    put(&mut later, 0, id);
    host.0.borrow_mut().pages[0] = theirs;
    let error = later.open(0, id, &mut Vec::new()).unwrap_err();
    assert_eq!(error.rule(), "page.altered");
}

#[test]
fn what_cannot_be_read_back_is_refused_when_it_is_read() {
    let contract = testing::contract(|_| {});
    let host = Host::default();
    let shape = Shape {
        page: MIN_PAGE,
        partitions: 1,
    };
    let mut pages = pages(&host, shape);
    // Two pages are all that the memory holds when runs are joined.
    let files = [rows(0..400), rows(0..1), rows(0..1)];
    let error = tables(&contract, &files, 2 * MIN_PAGE, &mut pages).unwrap_err();
    assert_eq!(error.rule(), "memory.rows");
    for page in [0, MIN_PAGE - 1, MAX_PAGE + 1] {
        let shape = Shape {
            page,
            partitions: 1,
        };
        let error = Pages::new(host.clone(), shape, &mut TestRng(0)).unwrap_err();
        assert_eq!(error.rule(), "page.shape");
    }
    // Rows in pages, and nobody who has the pages.
    let files = [rows(0..400), rows(0..9), rows(0..9)];
    let mut pages = Pages::new(host.clone(), SMALL, &mut TestRng(0)).unwrap();
    host.0.borrow_mut().pages.clear();
    let tables = small_tables(&contract, &files, 100, &mut pages);
    let error = compute::run(&contract, &tables, None, &mut TestRng(0)).unwrap_err();
    assert_eq!(error.rule(), "page.elsewhere");
}

#[test]
fn shapes_follow_the_memory() {
    assert_eq!(Shape::of(0, 3).page, MIN_PAGE);
    let large = Shape::of(300 << 20, 3);
    assert_eq!((large.page, large.partitions), (MAX_PAGE, 1600));
    for values in 0..=8 {
        let rows = large.run_rows(values);
        assert!(rows * row_bytes(values) <= 100 << 20);
        let mean = rows / 1600;
        let deviations = (large.room(values) - mean) / mean.isqrt();
        assert!(deviations >= 10, "{values} values: {deviations}");
    }
}

/// What the host sees does not depend on what rows hold: not on how many are of one key, not on
/// how many keys two tables share.
#[test]
fn the_order_of_pages_is_known_beforehand() {
    let contract = testing::contract(|_| {});
    let seen = |files: &[Rows; 3]| {
        let host = Host::default();
        let shape = Shape {
            page: 8 * MIN_PAGE,
            partitions: 2,
        };
        let mut pages = pages(&host, shape);
        let tables = small_tables(&contract, files, 300, &mut pages);
        run(&contract, &tables, &mut pages).unwrap();
        let kept = host.0.take();
        assert!(kept.pages.iter().all(|page| page.len() == shape.page));
        (kept.put, kept.got)
    };
    let same = |n| -> Rows { (0..n).map(|_| ("k".to_owned(), "1".to_owned())).collect() };
    let apart = seen(&[rows(0..900), rows(900..1800), rows(1800..2100)]);
    assert_eq!(apart.0.len(), (4 + 4) * 2, "four runs of two tables");
    assert_eq!(apart.0.len(), apart.1.len());
    assert_eq!(apart, seen(&[rows(0..900), rows(0..900), rows(0..300)]));
    assert_eq!(apart, seen(&[same(900), rows(0..900), same(300)]));
}

/// A regression takes two passes, whatever the tables have in common.
#[test]
fn pages_of_a_regression_are_asked_for_twice() {
    let contract = testing::contract(testing::regression);
    let got = |files: &[Rows; 3]| {
        let host = Host::default();
        let shape = Shape {
            page: 8 * MIN_PAGE,
            partitions: 2,
        };
        let mut pages = pages(&host, shape);
        let tables = small_tables(&contract, files, 300, &mut pages);
        run(&contract, &tables, &mut pages).unwrap();
        host.0.take().got
    };
    let common = got(&[rows(0..900), rows(0..900), rows(0..300)]);
    let (once, again) = common.split_at(common.len() / 2);
    assert_eq!((once.len(), once), ((4 + 4) * 2, again));
    let apart = got(&[rows(0..900), rows(900..1800), rows(1800..2100)]);
    assert_eq!(apart, common);
}

fn contracts() -> [Contract; 4] {
    let pairs = [
        Output::IntersectionSize,
        Output::PairwiseSizes,
        Output::Sums,
    ];
    [
        testing::contract(|t| (t.cohorts.minimum = 2, seen(t, &pairs)).1),
        testing::contract(|t| (t.cohorts.minimum = 2, testing::statistics(t)).1),
        testing::contract(|t| (t.cohorts.minimum = 2, testing::regression(t)).1),
        testing::contract(|t| {
            t.cohorts.minimum = 2;
            t.computation = Computation::Overlap {};
            seen(t, &[Output::Overlaps]);
        }),
    ]
}

fn files() -> impl Strategy<Value = Vec<Rows>> {
    // Few keys with many rows, many keys with few, and keys that are none.
    let key = prop_oneof!["[a-c]?", "[a-z][a-f]"];
    let row = (key, "-?[0-9]{1,15}(\\.[0-9]{1,12})?");
    proptest::collection::vec(proptest::collection::vec(row, 0..300), 3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The join of rows in pages, of rows in memory, and the naive one.
    #[test]
    fn pages_change_nothing(files in files(), limit in 1_usize..320, partitions in 1_u32..6) {
        let naive = Naive::of(&files);
        for contract in contracts() {
            let host = Host::default();
            let mut pages = pages(&host, Shape { page: MIN_PAGE, partitions });
            let put_away = small_tables(&contract, &files, limit, &mut pages);
            let in_memory = testing::tables(&contract, 2, &files);
            let expected = compute::run(&contract, &in_memory, None, &mut TestRng(0)).unwrap();
            let got = run(&contract, &put_away, &mut pages).unwrap();
            prop_assert_eq!(&got, &expected);
            for (one, other) in put_away.iter().zip(&in_memory) {
                prop_assert_eq!(one.report(), other.report());
                prop_assert_eq!(one.runs() > 0, one.rows() > limit as u64);
            }
            if let Analysis::Intersection(found) = got.analysis {
                if let Some(size) = found.size.shown() {
                    prop_assert_eq!(*size, naive.all());
                }
                for (i, name) in NAMES.iter().enumerate() {
                    if let Some(sum) = found.sums[*name]["amount"].shown() {
                        let expected: BigInt = naive.values(i).iter().sum();
                        prop_assert_eq!(BigInt::from(sum.0), expected);
                    }
                }
            }
        }
    }
}

/// Tables that hold at most so many rows in memory.
fn small_tables(
    contract: &Contract,
    files: &[Rows],
    limit: usize,
    pages: &mut Pages<'_>,
) -> Vec<Table> {
    let tags = TagKey::generate(&mut TestRng(1)).unwrap();
    let read = |(name, rows): (&&str, &Rows)| {
        let reader = TableReader::new(contract, name, &tags, usize::MAX, Some(&mut *pages));
        let mut reader = reader.unwrap().holding(limit);
        reader.feed(b"email,amount\n").unwrap();
        for (key, amount) in rows {
            reader.feed(format!("{key},{amount}\n").as_bytes()).unwrap();
        }
        reader.finish().unwrap()
    };
    NAMES.iter().zip(files).map(read).collect()
}
