import { type Metric, type Registry } from 'prom-client'
import type { Histogram } from './histogram.ts'

/** Upper bounds of the buckets told to Prometheus, in milliseconds. */
const boundsMs = [1, 2, 5, 10, 15, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000]

export interface HistogramRegistration {
  /** In seconds, as Prometheus wants it. */
  readonly name: string
  readonly help: string
  /** Name of the label that the keys of `histograms` are values of. */
  readonly label: string
  readonly histograms: ReadonlyMap<string, Histogram>
}

/** Shows `histograms`, which others fill, as one Prometheus histogram; read only when metrics are asked for. */
export function registerHistogram(registry: Registry, { name, help, label, histograms }: HistogramRegistration): void {
  const metric = {
    name,
    help,
    type: 'histogram',
    aggregator: 'sum',
    reset: () => undefined,
    get: () =>
      Promise.resolve({
        name,
        help,
        type: 'histogram',
        aggregator: 'sum',
        values: [...histograms].flatMap(([value, histogram]) => samples(histogram, name, { [label]: value })),
      }),
  }
  // prom-client asks nothing of a metric but `name` and `get`; its types only know its own classes.
  registry.registerMetric(metric as unknown as Metric)
}

function samples(histogram: Histogram, name: string, labels: Record<string, string>) {
  const buckets = boundsMs.map((boundMs) => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le: String(boundMs / 1000) },
    value: histogram.countUpTo(boundMs),
  }))
  return [
    ...buckets,
    { metricName: `${name}_bucket`, labels: { ...labels, le: '+Inf' }, value: histogram.count },
    { metricName: `${name}_sum`, labels, value: histogram.sumMs / 1000 },
    { metricName: `${name}_count`, labels, value: histogram.count },
  ]
}
