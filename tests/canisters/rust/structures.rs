//! A canister on ic-stable-structures: words by number in a StableBTreeMap, every change in a log, lengths in a vector and a heap, a count
//! in a cell, all over one memory manager; the latest words also in a map on the ordinary heap, which pre_upgrade writes out and
//! post_upgrade reads again. Version 2 of the test counts in another unit, version 3's post_upgrade panics.
//!
//! Arguments and replies are Candid of nat64 and text, taken apart by hand: no crate but the one under test.
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{
    BoundedStorable, DefaultMemoryImpl, StableBTreeMap, StableCell, StableLog, StableMinHeap, StableVec, Storable,
};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

mod ic0 {
    #[link(wasm_import_module = "ic0")]
    extern "C" {
        pub fn msg_arg_data_size() -> usize;
        pub fn msg_arg_data_copy(to: *mut u8, offset: usize, size: usize);
        pub fn msg_reply_data_append(from: *const u8, size: usize);
        pub fn msg_reply();
        pub fn trap(from: *const u8, size: usize);
    }
}

type Memory = VirtualMemory<DefaultMemoryImpl>;
const UNIT: u64 = 1_000_000; // v1
// v2: const UNIT: u64 = 2_000_000;

#[derive(Clone)]
struct Words(String);
impl Storable for Words {
    fn to_bytes(&self) -> Cow<[u8]> {
        Cow::Borrowed(self.0.as_bytes())
    }
    fn from_bytes(bytes: Cow<[u8]>) -> Self {
        Words(String::from_utf8(bytes.into_owned()).unwrap())
    }
}
impl BoundedStorable for Words {
    const MAX_SIZE: u32 = 320;
    const IS_FIXED_SIZE: bool = false;
}

struct State {
    words: StableBTreeMap<u64, Words, Memory>,
    lengths: StableVec<u64, Memory>,
    longest: StableMinHeap<u64, Memory>,
    changes: StableLog<Vec<u8>, Memory, Memory>,
    puts: StableCell<u64, Memory>,
    carried: StableCell<Vec<u8>, Memory>,
    latest: BTreeMap<u64, String>,
}

fn state_new() -> State {
    let manager = MemoryManager::init_with_bucket_size(DefaultMemoryImpl::default(), 4);
    let part = |id| manager.get(MemoryId::new(id));
    State {
        words: StableBTreeMap::init(part(0)),
        lengths: StableVec::init(part(1)).unwrap(),
        longest: StableMinHeap::init(part(2)).unwrap(),
        changes: StableLog::init(part(3), part(4)).unwrap(),
        puts: StableCell::init(part(5), 0).unwrap(),
        carried: StableCell::init(part(6), Vec::new()).unwrap(),
        latest: BTreeMap::new(),
    }
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(state_new());
}

fn with<R>(work: impl FnOnce(&mut State) -> R) -> R {
    STATE.with(|state| work(&mut state.borrow_mut()))
}

// ---- Candid: "DIDL", no type table, the types, the values ---------------------------------------------------------------------------

fn argument() -> Vec<u8> {
    unsafe {
        let mut bytes = vec![0; ic0::msg_arg_data_size()];
        ic0::msg_arg_data_copy(bytes.as_mut_ptr(), 0, bytes.len());
        bytes
    }
}

fn nat64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn text_at(bytes: &[u8], mut at: usize) -> String {
    let (mut length, mut shift) = (0, 0);
    loop {
        length |= ((bytes[at] & 127) as usize) << shift;
        shift += 7;
        at += 1;
        if bytes[at - 1] < 128 {
            return String::from_utf8(bytes[at..at + length].to_vec()).unwrap();
        }
    }
}

fn reply(kind: u8, value: &[u8]) {
    let mut bytes = b"DIDL\0\x01".to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(value);
    unsafe {
        ic0::msg_reply_data_append(bytes.as_ptr(), bytes.len());
        ic0::msg_reply();
    }
}

fn reply_nat64(value: u64) {
    reply(0x78, &value.to_le_bytes());
}

// ---- messages -----------------------------------------------------------------------------------------------------------------------

fn put(s: &mut State, key: u64, words: String) -> u64 {
    let length = words.len() as u64;
    let old = s.words.insert(key, Words(words.clone()));
    s.lengths.push(&length).unwrap();
    s.longest.push(&(1000 - length)).unwrap();
    if s.longest.len() > 40 {
        s.longest.pop();
    }
    s.changes.append(&words.as_bytes()[..words.len() / 2].to_vec()).unwrap();
    let puts = *s.puts.get() + 1;
    s.puts.set(puts).unwrap();
    s.latest.insert(key % 50, words);
    let heap: usize = s.latest.values().map(String::len).sum();
    s.words.len() * 1000 + puts * UNIT + old.map_or(0, |w| w.0.len() as u64) + heap as u64 + s.longest.peek().unwrap_or(0)
}

#[export_name = "canister_init"]
fn init() {
    with(|s| s.latest.insert(0, "first".to_string()));
}

#[export_name = "canister_update put"]
fn update_put() {
    let bytes = argument();
    reply_nat64(with(|s| put(s, nat64_at(&bytes, 8), text_at(&bytes, 16))));
}

#[export_name = "canister_update remove"]
fn update_remove() {
    let bytes = argument();
    reply_nat64(with(|s| {
        let old = s.words.remove(&nat64_at(&bytes, 7));
        s.lengths.len() + old.map_or(0, |w| w.0.len() as u64)
    }));
}

#[export_name = "canister_update poison"]
fn update_poison() {
    let bytes = argument();
    with(|s| {
        for i in 0..20 {
            put(s, nat64_at(&bytes, 7) + i, "poisoned".repeat(30));
        }
        s.latest.clear();
    });
    trap("poisoned");
}

#[export_name = "canister_query get"]
fn query_get() {
    let bytes = argument();
    let words = with(|s| s.words.get(&nat64_at(&bytes, 7)).map_or("-".to_string(), |w| w.0));
    let mut value = Vec::new();
    let mut rest = words.len();
    while rest > 127 {
        value.push((rest & 127) as u8 | 128);
        rest >>= 7;
    }
    value.push(rest as u8);
    value.extend_from_slice(words.as_bytes());
    reply(0x71, &value);
}

fn trap(why: &str) -> ! {
    unsafe { ic0::trap(why.as_ptr(), why.len()) };
    unreachable!()
}

// ---- upgrade ------------------------------------------------------------------------------------------------------------------------

#[export_name = "canister_pre_upgrade"]
fn pre_upgrade() {
    with(|s| {
        let mut bytes = Vec::new();
        for (key, words) in &s.latest {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&(words.len() as u64).to_le_bytes());
            bytes.extend_from_slice(words.as_bytes());
        }
        s.carried.set(bytes).unwrap();
    });
}

#[export_name = "canister_post_upgrade"]
fn post_upgrade() {
    with(|s| {
        let bytes = s.carried.get().clone();
        let mut at = 0;
        while at < bytes.len() {
            let length = nat64_at(&bytes, at + 8) as usize;
            let words = String::from_utf8(bytes[at + 16..at + 16 + length].to_vec()).unwrap();
            s.latest.insert(nat64_at(&bytes, at), words);
            at += 16 + length;
        }
        s.puts.set(*s.puts.get() + 100).unwrap();
    });
    // v3: with(|s| put(s, 1, "refused".to_string())); trap("refused");
}
