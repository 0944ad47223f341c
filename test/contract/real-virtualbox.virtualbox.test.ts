import { realSubject } from '../providers/virtualbox/real-subject.js'
import { virtualBoxContract } from './virtualbox-contract.js'

const { options = {}, open } = realSubject
virtualBoxContract('virtualbox on the real VBoxManage', options, open)
