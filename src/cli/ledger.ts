import { schemaSql } from '../ledger/schema-sql.ts'
import type { Command } from 'commander'
import { ForebayError } from '../errors.ts'
import { schemaVersion } from '../ledger/schema-steps.ts'

interface SqlOptions {
  readonly from: string
  readonly grantTo?: string
}

const examples = `
Examples:
  forebay ledger sql | psql shop                                    make the schema forebay
  forebay ledger sql --from 1 --grant-to app | psql shop            upgrade one of version 1, for nodes that connect as app

A node does the same at its start where its user may. Run it as the owner of the schema forebay. It is one transaction.`

/** Adds `forebay ledger sql`. */
export function addLedger(program: Command): void {
  program
    .command('ledger')
    .description("the tables of forebay in the pipeline's database")
    .command('sql')
    .description('print the SQL that makes or upgrades the schema forebay, for databases in which the nodes may not')
    .option('--from <version>', 'version of the schema that is there (0: none)', '0')
    .option('--grant-to <user>', 'also let this user of the database use the tables')
    .addHelpText('after', examples)
    .action(sql)
}

function sql({ from, grantTo }: SqlOptions): void {
  const version = Number(from)
  if (!/^\d+$/.test(from) || version > schemaVersion)
    throw new ForebayError(
      'FB_USAGE',
      `--from ${from}: name the version of the schema that is there, a whole number up to ${schemaVersion}`,
    )
  process.stdout.write(schemaSql(version, grantTo))
}
