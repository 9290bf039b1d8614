// An actor class, a class inside it, an array of 200,000 numbers that is changed in place and replaced, floats, an assertion that fails, and
// a call of its own method, which this host's network refuses. Compiled twice, and with three versions, like timers.mo.
import Prim "mo:⛔";
persistent actor class Numbers() = self { // classic: actor class Numbers() = self {
  class Box(first : Nat64) { var sum = first; public func add(more : Nat64) : Nat64 { sum +%= more; sum } };
  transient let box = Box(3); // classic: let box = Box(3);
  stable var big : [var Nat64] = Prim.Array_init<Nat64>(200_000, 0);
  stable var floats : [var Float] = Prim.Array_init<Float>(1000, 1.5);
  stable var names : [Text] = [];
  public func put(key : Nat64, value : Text) : async Nat64 {
    let at = Prim.nat64ToNat(key) * 499 % big.size();
    big[at] +%= key + 1; // v2: big[at] +%= key + 1_000_000;
    floats[at % 1000] *= 1.0001;
    names := Prim.Array_tabulate<Text>((names.size() + 1) % 40, func(i) { if (i < names.size()) names[i] else value });
    big[at] +% box.add(key)
  };
  public func remove(key : Nat64) : async Nat64 {
    if (key % 9 == 0) { big := Prim.Array_init<Nat64>(200_000 - Prim.nat64ToNat(key), key) };
    try { await self.put(1, "x") } catch (_) { 17 }
  };
  public func poison(key : Nat64) : async Nat64 { big[0] := key; assert (big[0] != key); 0 };
  public query func get(key : Nat64) : async Text {
    if (names.size() == 0) "-" else names[Prim.nat64ToNat(key) % names.size()]
  };
  // v3: system func postupgrade() { names := []; assert (names.size() == 1) };
};
