/** Processor time of this process, all its threads. */
export function processorMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

const spinMs = 300

/** Share of a core that a busy loop gets: 1 on an idle machine. Blocks for a moment. */
export function processorShare(): number {
  const [startedMs, usedMs] = [performance.now(), processorMs()]
  while (performance.now() - startedMs < spinMs);
  return Math.min(1, Math.max(0.01, (processorMs() - usedMs) / (performance.now() - startedMs)))
}
