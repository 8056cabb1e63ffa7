/** How far a replay has come, for whoever shows it. */
export interface Progress {
  /** What is going on, such as `replaying into trades_again`. */
  readonly doing: string
  /** Offsets passed and to pass. */
  readonly done: number
  readonly total: number
  readonly events: number
  readonly rows: number
}

export type OnProgress = (progress: Progress) => void
