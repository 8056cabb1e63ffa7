/** The pipeline of items as a module, for nodes and commands that run as processes of their own. */
import { itemsPipeline } from './items.mjs'

// The broker is shared by the test files: one that uses this pipeline on it may name another topic.
export default itemsPipeline({ topic: process.env['FOREBAY_TEST_TOPIC'] ?? 'items' })
