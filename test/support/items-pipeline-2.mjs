/** The next version of the pipeline of items, as a module. */
import { itemsPipeline } from './items.mjs'

export default itemsPipeline({ topic: 'items', version: '2' })
