/** The next version of the pipeline of items, as a module. */
import { itemsPipeline } from './live-node.ts'

export default itemsPipeline({ topic: 'items', version: '2' })
