/** What an adapter is called at a model server. */

/** Digits of the commit in a name: 48 bits, so that two adapters of one tenant do not meet. */
const COMMIT_DIGITS = 12;

/**
 * `tenant/label@commit`: two tenants never meet, and other bytes never get a name that a server has known. vLLM keys its prefix
 * cache by the adapter’s name, since 0.32 by name and path (`vllm/v1/core/kv_cache_utils.py`, `_gen_lora_extra_hash_keys`), so
 * other bytes under a known name could go on from keys and values that were cached with the old ones. No colon, by which SGLang tells base and adapter apart.
 */
export function servedName(tenant: string, label: string, commit: string): string {
  return `${tenant}/${label}@${commit.slice(0, COMMIT_DIGITS)}`;
}
