// Stable memory by address, under the stable variables: the old library for it, which compilers of today refuse. Versions as in timers.mo.
import Prim "mo:⛔";
actor {
  stable var puts : Nat64 = 0;
  stable var latest : [(Nat64, Text)] = [];
  func reserve(pages : Nat64) {
    if (Prim.stableMemorySize() < pages) { ignore Prim.stableMemoryGrow(pages - Prim.stableMemorySize()) };
  };
  public func put(key : Nat64, value : Text) : async Nat64 {
    let at = key * 4096;
    reserve((at + 4096) / 65536 + 1);
    Prim.stableMemoryStoreBlob(at, Prim.encodeUtf8(value));
    Prim.stableMemoryStoreNat64(at + 1001, key);
    Prim.stableMemoryStoreFloat(at + 1016, 2.5);
    Prim.stableMemoryStoreInt8(at + 1003, 7);
    Prim.stableMemoryStoreNat16(at + 4095, 513);
    puts += 1; // v2: puts += 1_000_000;
    latest := Prim.Array_tabulate<(Nat64, Text)>(
      (latest.size() + 1) % 30, func(i) { if (i < latest.size()) latest[i] else (key, value) });
    puts * 1000 + Prim.stableMemoryLoadNat64(at + 1000)
  };
  public func remove(key : Nat64) : async Nat64 { Prim.stableMemorySize() + key };
  public func poison(key : Nat64) : async Nat64 {
    reserve(Prim.stableMemorySize() + 2);
    Prim.stableMemoryStoreNat64(0, key);
    Prim.stableMemoryLoadNat64(Prim.stableMemorySize() * 65536)
  };
  public query func get(key : Nat64) : async Text {
    for ((at, value) in latest.vals()) { if (at == key) return value };
    "-"
  };
  // v3: system func postupgrade() { puts := 0; Prim.trap("refused") };
};
