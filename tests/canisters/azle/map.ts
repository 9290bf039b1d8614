// Words by number in a StableBTreeMap; how many since the last upgrade on QuickJS's heap. Version 2 of the test counts in another unit,
// version 3's post_upgrade throws.
import { IDL, postUpgrade, query, StableBTreeMap, update } from 'azle';

export default class {
  words = new StableBTreeMap<bigint, string>(0);
  since = 0n;

  // v3: @postUpgrade([]) refuse(): void { this.words.insert(1n, 'refused'); throw new Error('refused'); }

  @update([IDL.Nat64, IDL.Text], IDL.Nat64)
  put(key: bigint, words: string): bigint {
    const old = this.words.get(key);
    this.words.insert(key, words);
    this.since += 1n;
    return BigInt(this.words.len()) * 1000n + this.since * 1000000n + BigInt(old ? old.length : 0);
  }

  @update([IDL.Nat64], IDL.Nat64)
  remove(key: bigint): bigint {
    this.words.remove(key);
    return BigInt(this.words.len());
  }

  @update([IDL.Nat64], IDL.Nat64)
  poison(key: bigint): bigint {
    for (let i = 0n; i < 20n; i++) this.words.insert(key + i, 'poisoned');
    this.since = 0n;
    throw new Error('poisoned');
  }

  @query([IDL.Nat64], IDL.Text)
  get(key: bigint): string {
    return this.words.get(key) ?? '-';
  }
}
