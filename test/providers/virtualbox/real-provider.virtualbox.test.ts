import { faultCases } from './fault-cases.js'
import { realSubject } from './real-subject.js'
import { snapshotCases } from './snapshot-cases.js'

snapshotCases(realSubject)
faultCases(realSubject)
