/**
 * Days and times as a line holds them: one text for each value, so that equal ones are equal as text and earlier ones are less.
 * A fraction has three digits or six in a timestamp and as few as it needs in a time. Pure.
 */

const zoneMinutesMax = 15 * 60 + 59
const minuteMs = 60_000
/** The years 1 to 9999: outside of them the notations of JavaScript and Postgres differ. */
const firstMs = -62_135_596_800_000
const endMs = 253_402_300_800_000

/** The parts of `2026-11-28`. */
const day = /^(\d{4})-(\d\d)-(\d\d)$/
const clock = /^(\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?$/
const moment = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d(?::?\d\d)?)?$/

/** `text` when it is a day of the years 1 to 9999; else undefined. */
export function dayText(text: string): string | undefined {
  const [, year, month, date] = day.exec(text) ?? []
  return year === undefined || !isDay(Number(year), Number(month), Number(date)) ? undefined : text
}

function isDay(year: number, month: number, date: number): boolean {
  return year >= 1 && month >= 1 && month <= 12 && date >= 1 && date <= daysOf(year, month)
}

function daysOf(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31
}

/** `HH:MM:SS` and the fraction without trailing zeros; undefined: it is none, or has a fraction of more than `digits`. */
export function timeText(text: string, digits: number): string | undefined {
  const parts = clockOf(text)
  if (parts === undefined) return undefined
  const { hms, fraction } = parts
  if (fraction.length > digits) return undefined
  if (hms > '23:59:59' && !(hms === '24:00:00' && fraction === '')) return undefined
  return fraction === '' ? hms : `${hms}.${fraction}`
}

/** Minutes and seconds are below 60, hours at most 24: Postgres would carry a 60th second over without a word. */
function clockOf(text: string): { hms: string; fraction: string } | undefined {
  const [, hours, minutes, seconds = '00', fraction = ''] = clock.exec(text) ?? []
  if (hours === undefined || minutes === undefined || hours > '24' || minutes > '59' || seconds > '59') return undefined
  return { hms: `${hours}:${minutes}:${seconds}`, fraction: fraction.replace(/0+$/, '') }
}

/** A text without a zone as `2026-11-28T09:30:00.000`; undefined: it is none, or has a fraction of more than `digits`. */
export function timestampText(text: string, digits: number): string | undefined {
  const [, date = '', time = '', zone] = moment.exec(text) ?? []
  return zone === undefined ? joined(date, time, digits) : undefined
}

/** A text with a zone, in UTC, as `2026-11-28T09:30:00.000Z`; undefined as above. */
export function timestamptzText(text: string, digits: number): string | undefined {
  const [, date = '', time = '', zone] = moment.exec(text) ?? []
  if (zone === undefined) return undefined
  const local = joined(date, time, digits)
  if (local === undefined || zone === 'Z') return local === undefined ? undefined : `${local}Z`
  const minutes = Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3).replace(':', ''))
  if (minutes > zoneMinutesMax || Number(zone.slice(3).replace(':', '')) > 59) return undefined
  const ms = Date.parse(`${local.slice(0, 23)}Z`) - (zone.startsWith('-') ? -minutes : minutes) * minuteMs
  return ms >= firstMs && ms < endMs ? `${new Date(ms).toISOString().slice(0, 23)}${local.slice(23)}Z` : undefined
}

function joined(date: string, time: string, digits: number): string | undefined {
  const parts = clockOf(time)
  if (dayText(date) === undefined || parts === undefined || parts.hms >= '24' || parts.fraction.length > digits) return undefined
  return `${date}T${parts.hms}.${parts.fraction.padEnd(parts.fraction.length > 3 ? 6 : 3, '0')}`
}

/** Whether the fraction of a text of `Date.toISOString` has at most `digits` digits. */
export function hasDigits(text: string, digits: number): boolean {
  return digits >= 3 || text.slice(20 + digits, 23).replaceAll('0', '') === ''
}
