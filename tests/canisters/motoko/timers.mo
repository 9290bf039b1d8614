// Words by number in an array that is made anew at each change; timers armed and cancelled, by a method that is not public. Compiled by a
// compiler of today and, with what `classic` names, by one whose heap is 32-bit and whose stable variables are written out by upgrades.
// Version 2 of the test counts in another unit, version 3 traps when it is upgraded to.
import Prim "mo:⛔";
persistent actor { // classic: actor {
  stable var words : [(Nat64, Text)] = [];
  stable var ticks : Nat64 = 0;
  transient var timer : Nat = 0; // classic: var timer : Nat = 0;
  func tick() : async () { ticks += 1 };
  public func put(key : Nat64, value : Text) : async Nat64 {
    words := Prim.Array_tabulate<(Nat64, Text)>(
      (words.size() + 1) % 60, func(i) { if (i < words.size()) words[i] else (key, value) });
    if (key % 7 == 0) { timer := Prim.setTimer<system>(5_000_000_000, false, tick) }; // classic: if (key % 7 == 0) { timer := Prim.setTimer(5_000_000_000, false, tick) };
    if (key % 11 == 0) { Prim.cancelTimer(timer) };
    ticks += 1; // v2: ticks += 1_000_000;
    Prim.natToNat64(words.size()) * 1000 + ticks
  };
  public func remove(key : Nat64) : async Nat64 {
    words := Prim.Array_tabulate<(Nat64, Text)>(words.size() / 2, func(i) { words[i] });
    Prim.natToNat64(words.size()) + key
  };
  public func poison(_key : Nat64) : async Nat64 {
    words := [];
    timer := Prim.setTimer<system>(1, true, tick); // classic: timer := Prim.setTimer(1, true, tick);
    Prim.trap("poisoned")
  };
  public query func get(key : Nat64) : async Text {
    for ((at, value) in words.vals()) { if (at == key) return value };
    "-"
  };
  // v3: system func postupgrade() { words := []; Prim.trap("refused") };
};
