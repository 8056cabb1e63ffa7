/** What a terminal would take for commands: control characters save tab and newline. */
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g

/** Text that came from events or servers, for a terminal: control characters become `\xNN`, so that none can act. */
export function printable(text: string): string {
  return text.replace(controls, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
}
