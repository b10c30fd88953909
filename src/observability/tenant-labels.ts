/** The label of all tenants beyond those that are named. It has a form that no tenant can have. */
const OTHER_TENANTS = '(other)';

/**
 * Makes the function that turns a tenant into a label. Every label is a time series kept for good, so only the first
 * `named` tenants that this process sees get their own; all others share one.
 */
export function createTenantLabels(named: number): (tenant: string) => string {
  const known = new Set<string>();
  return (tenant) => {
    if (!known.has(tenant)) {
      if (known.size >= named) return OTHER_TENANTS;
      known.add(tenant);
    }
    return tenant;
  };
}
