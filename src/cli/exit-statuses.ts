/** Exit statuses of failures; those that are not listed exit with 1. */
export const EXIT_STATUSES: Readonly<Record<string, number>> = {
  'job-ended': 3,
  'service-busy': 4,
  'service-unreachable': 4,
};
