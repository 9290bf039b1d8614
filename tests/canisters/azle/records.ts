// Two StableBTreeMaps that point at each other, one with records that hold bytes and optional parts; on QuickJS's heap a Map of typed arrays
// that a class keeps, a closure that counts, a regular expression; timers; what the heap knew goes through an upgrade in a third map. Versions
// as in map.ts.
import { IDL, init, postUpgrade, preUpgrade, query, setTimer, StableBTreeMap, update } from 'azle';

type Entry = { words: string; bytes: Uint8Array; seen?: bigint };

class Ring {
  rings = new Map<number, Float64Array>();
  add(key: bigint, words: string): number {
    const at = Number(key % 50n);
    const ring = this.rings.get(at) ?? new Float64Array(500);
    ring[words.length % 500] += words.length / 3;
    this.rings.set(at, ring);
    return ring.reduce((sum, x) => sum + x, 0);
  }
}

const counter = (() => {
  let count = 0n;
  return () => (count += 1n);
})();

export default class {
  entries = new StableBTreeMap<bigint, Entry>(0);
  byWords = new StableBTreeMap<string, bigint>(1);
  carried = new StableBTreeMap<string, string>(2);
  ring = new Ring();
  since = 0n;

  @init([])
  begin(): void {
    this.byWords.insert('first', 0n);
  }

  @preUpgrade
  save(): void {
    this.carried.insert('since', this.since.toString());
    this.carried.insert('rings', JSON.stringify([...this.ring.rings].map(([at, ring]) => [at, Array.from(ring.slice(0, 20))])));
  }

  @postUpgrade([])
  load(): void {
    this.since = BigInt(this.carried.get('since') ?? '0');
    for (const [at, start] of JSON.parse(this.carried.get('rings') ?? '[]')) {
      const ring = new Float64Array(500);
      ring.set(start);
      this.ring.rings.set(at, ring);
    }
    // v3: this.entries.insert(1n, { words: 'refused', bytes: new Uint8Array(3) }); throw new Error('refused');
  }

  @update([IDL.Nat64, IDL.Text], IDL.Nat64)
  put(key: bigint, words: string): bigint {
    const old = this.entries.get(key);
    const bytes = new Uint8Array(words.length).map((_, i) => (i * 7 + words.charCodeAt(i)) & 255);
    this.entries.insert(key, { words: words.replace(/([aeiou])\1*/g, '<$1>'), bytes, seen: old ? key : undefined });
    this.byWords.insert(words.slice(0, 20), key);
    if (key % 7n === 0n) setTimer(5, () => this.byWords.insert('timer', key));
    this.since += 1n;
    const sum = BigInt(Math.round(this.ring.add(key, words) * 1000));
    return BigInt(this.entries.len()) * 1000n + this.since * 1000000n + counter() + sum + BigInt(old ? old.bytes.length : 0);
  }

  @update([IDL.Nat64], IDL.Nat64)
  remove(key: bigint): bigint {
    const old = this.entries.remove(key);
    const some = this.byWords.keys().slice(0, 5).join().length;
    return BigInt(this.entries.len() + this.byWords.len() + some) + BigInt(old ? old.words.length : 0);
  }

  @update([IDL.Nat64], IDL.Nat64)
  poison(key: bigint): bigint {
    for (let i = 0n; i < 20n; i++) this.entries.insert(key + i, { words: 'poisoned', bytes: new Uint8Array(100) });
    this.ring.rings.clear();
    this.since = 0n;
    const none: any = undefined;
    return none.words;
  }

  @query([IDL.Nat64], IDL.Text)
  get(key: bigint): string {
    const entry = this.entries.get(key);
    return entry ? entry.words + String.fromCharCode(...entry.bytes.slice(0, 5).map((b) => 97 + (b % 26))) : '-';
  }
}
