// A tree, texts and a number that grows, in stable variables on the persistent heap. Version 2 of the test has one variable more,
// version 3 another type for one that there is, which is no upgrade.
import Prim "mo:⛔";
persistent actor {
  type Tree = { #leaf; #node : (Tree, Nat64, Text, Tree) };
  var tree : Tree = #leaf;
  var journal : [Text] = ["first"]; // not v3
  // v3: var journal : Nat = 0;
  var product : Nat = 1;
  // v2: var puts : Nat64 = 7;
  func insert(t : Tree, key : Nat64, value : Text) : Tree = switch t {
    case (#leaf) #node(#leaf, key, value, #leaf);
    case (#node(left, at, old, right))
      if (key < at) #node(insert(left, key, value), at, old, right)
      else if (key > at) #node(left, at, old, insert(right, key, value))
      else #node(left, key, value, right);
  };
  func find(t : Tree, key : Nat64) : Text = switch t {
    case (#leaf) "-";
    case (#node(left, at, value, right)) if (key < at) find(left, key) else if (key > at) find(right, key) else value;
  };
  public func put(key : Nat64, value : Text) : async Nat {
    tree := insert(tree, key, value);
    product := product * (Prim.nat64ToNat(key) + 1);
    // v2: puts += 1; product += Prim.nat64ToNat(puts) * 1_000_000_000;
    product
  };
  public func note(words : Text) : async Nat { // not v3
    let old = journal; // not v3
    journal := Prim.Array_tabulate<Text>(old.size() + 1, func(i) { if (i < old.size()) old[i] else words # old[i - 1] }); // not v3
    journal.size() // not v3
  }; // not v3
  public func poison(key : Nat64) : async Nat {
    tree := insert(tree, key, "poisoned");
    journal := []; // not v3
    product := 0;
    Prim.trap("poisoned")
  };
  public query func get(key : Nat64) : async Text { find(tree, key) };
};
