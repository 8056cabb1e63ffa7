// oxlint-disable-next-line no-control-regex
const rawControls = /[\u007f-\u009f]/g

/**
 * `value` as JSON that a terminal may be shown: JSON escapes control characters below U+0020 alone, and a terminal takes some of the
 * others for commands too. In several lines, unless `indent` is 0.
 */
export function jsonText(value: unknown, indent = 2): string {
  return JSON.stringify(value, null, indent).replace(rawControls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
