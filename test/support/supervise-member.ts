/** Supervises the member whose options come as JSON, and says once it is up; to be killed by its parent. */
import type { HazelcastMemberOptions } from '../../src/grid/hazelcast-member.ts'
import { superviseMember } from './grid-cluster.ts'

const running = superviseMember(JSON.parse(process.argv[2] ?? '') as HazelcastMemberOptions)
await running.isUp
process.stdout.write('up\n')
