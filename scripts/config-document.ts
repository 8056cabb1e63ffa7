/** `npm run config:document`: writes config/forebay.yaml anew from the schema. */
import { writeFileSync } from 'node:fs'
import { configDocument } from '../src/config/config-document.ts'

writeFileSync(new URL('../config/forebay.yaml', import.meta.url), configDocument())
