/** The sentence in each file that `hydra jobs init` writes. A file without the sentence belongs to somebody else. */
export const writtenBy = 'Written by `hydra-ops hydra jobs init`, which also refreshes this file.'

/** The folder with the files, below the folder that the user names. */
export const jobsFolder = 'hydra'
