/**
 * The sentence in each file that `hydra jobs init` writes. A file without the sentence does not belong to hydra-ops.
 */
export const writtenBy = 'Written by `hydra-ops hydra jobs init`, which also refreshes this file.'

/** Name of the folder with the written files, below the folder that the user names. */
export const jobsFolder = 'hydra'
