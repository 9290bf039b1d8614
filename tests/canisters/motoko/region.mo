// Words and texts in one region, how many in another, and since when in a variable that an upgrade forgets.
import Prim "mo:⛔";
persistent actor {
  let region = Prim.regionNew();
  let index = Prim.regionNew();
  transient var since : Nat64 = 0;
  func reserve(pages : Nat64) {
    if (Prim.regionSize(region) < pages) {
      ignore Prim.regionGrow(region, pages - Prim.regionSize(region));
      ignore Prim.regionGrow(index, 1);
    };
  };
  public func put(at : Nat64, value : Nat64) : async Nat64 {
    reserve(at * 8 / 65536 + 1);
    let old = Prim.regionLoadNat64(region, at * 8);
    Prim.regionStoreNat64(region, at * 8, value);
    Prim.regionStoreNat64(index, 0, Prim.regionLoadNat64(index, 0) + 1);
    since += 1;
    old + Prim.regionLoadNat64(index, 0) + since
  };
  public func blob(at : Nat64, words : Text) : async Nat64 {
    let bytes = Prim.encodeUtf8(words);
    reserve(at * 8 / 65536 + 2);
    Prim.regionStoreBlob(region, at * 8, bytes);
    Prim.regionSize(region)
  };
  public func poison(at : Nat64) : async Nat64 {
    reserve(Prim.regionSize(region) + 3);
    Prim.regionStoreNat64(index, 0, 0);
    Prim.regionStoreNat64(region, at * 8, 0xdead);
    since := 0;
    Prim.regionLoadNat64(region, Prim.regionSize(region) * 65536)
  };
  public query func get(at : Nat64) : async Nat64 {
    if (at * 8 + 8 > Prim.regionSize(region) * 65536) 0 else Prim.regionLoadNat64(region, at * 8)
  };
};
