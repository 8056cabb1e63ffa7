/** The pipeline of items as a module, for nodes and commands that run as processes of their own. */
import { itemsPipeline } from './live-node.ts'

export default itemsPipeline({ topic: 'items' })
