import type { EvalPlace, Unseen } from './recorded-rows.js'

/**
 * A part of the recording, with the state at its beginning. The recording does not show the order within a second; the
 * chosen order fits every answer.
 */
export interface Scene {
  readonly name: string
  /** The rows that no recorded request has written. */
  readonly rows?: { readonly places: readonly EvalPlace[]; readonly unseen: Unseen }
  readonly sql?: string
  /** The recordings that show the state of the jobsets at the beginning of the scene. */
  readonly jobsets?: readonly string[]
  /** The logins that were not recorded: the user of each session. */
  readonly logins?: Readonly<Record<string, string>>
  readonly exchanges: readonly string[]
}

const words = (text: string) => text.split(/\s+/).filter((word) => word !== '')

const morph = `update projects set displayname = 'Morph fleet', description = 'All hosts of the fleet',
  homepage = 'https://example.org', enabled = 1, hidden = 0 where name = 'morph';
  update projects set enabled = 1, hidden = 0 where name = 'other';`

const liveFlake = `insert into jobsets (name, project, emailoverride, type, flake, enabled, keepnr, checkinterval,
  schedulingshares, description, enableemail) values ('flake', 'live', '', 1, 'git+file:///srv/hydra/repos/network.git',
  1, 0, 0, 1, '', 0);`

/** A statement that records the earlier failure of build 25. */
const build25 = `update builds set finished = 1, buildstatus = 1 where id = 25;`

const noneUnseen = { constituents: {}, busy: [], failed: {}, size: 0 }

export const scenes: readonly Scene[] = [
  {
    name: 'users and projects',
    exchanges: words(`
      login-no-origin login-wrong-origin login-bad-json login-bad-password login-empty-body login-no-password
      login-no-username login-unknown-user login-user-without-password login-garbage-hash login-get
      login-origin-trailing-path-via-referer login-form login-sha1-user login-bob login-ok current-user
      current-user-anonymous project-put-anonymous project-put-not-admin project-get-404 project-put-invalid-name
      project-put-bad-json project-put-created project-put-no-displayname project-put-updated project-get
      project-put-not-owner project-put-bad-owner project-put-create-projects-role project-put-second
      project-put-rename-taken project-put-disabled-by-omission project-put-enabled-false-means-enabled
      project-put-declarative project-get-declarative project-put-form-encoded root-projects project-get-other`),
  },
  {
    name: 'before the first jobset',
    logins: {
      bf2aa114675908f4068fade4a36a93374edd6894: 'alice',
      '2320e2efdcd82b975067e1c054c5da6ff76539e7': 'robert',
    },
    exchanges: words(`project-get-after-partial-put`),
  },
  {
    name: 'jobsets',
    sql: morph,
    exchanges: words(`
      jobset-get-404 jobset-put-anonymous jobset-put-not-owner jobset-put-project-404 jobset-put-invalid-name
      jobset-put-declarative-project jobset-put-created jobset-put-updated jobset-get
      jobset-put-flake-no-uri jobset-put-flake-bad-uri jobset-put-flake-created jobset-get-flake jobset-one-shot
      jobset-put-flake-to-legacy jobset-put-flake-to-legacy-2 jobset-put-rename jobset-get-renamed-301
      jobset-put-rename-taken jobset-delete-not-admin jobset-delete jobset-delete-404
      jobset-put-missing-checkinterval jobset-get-after-missing-checkinterval jobset-put-missing-enabled
      jobset-put-abs-path jobset-put-bad-boolean jobset-put-bad-eval jobset-put-bad-input-name
      jobset-put-bad-input-type jobset-put-bad-inputs-key jobset-put-bad-path jobset-put-empty-path
      jobset-put-enabled-4 jobset-put-exprinput-not-in-inputs jobset-put-legacy-with-flake-key
      jobset-put-shares-zero jobset-put-type-2 jobset-delete-bad`),
  },
  {
    name: 'an API with nothing built',
    exchanges: words(`
      api-push-anonymous api-push-no-rights api-push-no-origin api-push-get api-push-put api-push-none api-push
      api-push-repo api-push-unknown-jobset api-push-disabled-project api-push-unparsable api-push-github-no-secret
      api-push-two-force jobset-get-triggered api-jobsets api-jobsets-404 api-jobsets-no-param
      api-latestbuilds-empty api-latestbuilds-no-nr api-queue-empty api-queue-no-nr queue-empty build-404
      build-bad-id eval-404 eval-bad-id job-jobset-404 job-project-404 job-latest-404 job-latest-finished-404
      job-latest-for-404 job-latest-for-no-system job-get job-prometheus-no-builds jobset-evals-empty
      jobset-latest-eval-404 machines nix-cache-info page-404 queue-runner-status`),
  },
  {
    name: 'a fleet',
    rows: {
      places: [
        { id: 1, project: 'morph', jobset: 'main' },
        { id: 2, project: 'morph', jobset: 'main' },
        { id: 3, project: 'morph', jobset: 'main', isCurrent: true },
        { id: 4, project: 'morph', jobset: 'flake', isCurrent: true },
        { id: 5, project: 'morph', jobset: 'flake' },
      ],
      unseen: { constituents: { 4: [1, 2], 5: [1, 3], 10: [7, 8] }, busy: [9], failed: {}, size: 1024 },
    },
    // Only the queue shows this build, and the queue leaves the priority out.
    sql: 'update builds set priority = 10 where id = 23;',
    jobsets: ['jobset-get-running', 'jobset-errors', 'jobset-get-fetcherror'],
    exchanges: words(`
      job-latest job-latest-nojson job-latest-with-rest job-latest-dotted-name job-latest-failed-last
      job-latest-never-succeeded job-latest-unknown-job job-latest-finished job-latest-finished-aggregate
      job-latest-for-system job-latest-for-aarch64 job-latest-for-wrong-system jobset-latest jobset-latest-finished
      jobset-latest-for project-latest build-1 build-2 build-3-failed build-4-aggregate build-5-depfailed-aggregate
      build-8-timeout build-9-running build-10-queued build-status-0 build-status-1 build-status-2 build-status-3
      build-status-4 build-status-6 build-status-7 build-status-9 build-status-10 build-status-11 build-status-12
      build-constituents build-constituents-404 build-constituents-failed build-constituents-none
      build-constituents-unfinished build-get-info build-get-info-queued build-download-1 build-download-2
      build-download-404 build-download-type build-eval build-evals build-log build-log-raw
      build-nix-closure build-output build-step-log api-latestbuilds api-latestbuilds-bad-nr
      api-latestbuilds-filter api-latestbuilds-unknown api-nrbuilds api-nrqueue api-queue api-jobsets-full eval-1
      eval-1-builds eval-1-job eval-1-job-404 eval-1-store-paths eval-1-channel eval-2-cached eval-3-builds
      eval-3-unfinished eval-4-flake eval-5-error eval-5-errors evals job-build-times job-metric job-output-sizes
      job-prometheus job-prometheus-failed job-shield job-shield-404 queue queue-summary status-running
      channel-latest jobset-errors jobset-evals jobset-evals-404 jobset-evals-flake jobset-evals-page2
      jobset-get-fetcherror jobset-get-running jobset-get-with-error jobset-latest-eval
      jobset-latest-eval-store-paths machines-2 metrics narinfo narinfo-404 project-get-full prometheus search
      search-bad search-empty steps`),
  },
  {
    name: 'behind a proxy',
    exchanges: words(`
      nginx-unknown-host nix-serve-nginx-root nix-serve-nginx-404 nix-serve-nginx-cache-info
      nix-serve-nginx-narinfo nix-serve-nginx-narinfo-404 nix-serve-nginx-nar nix-serve-nginx-nar-old
      nix-serve-nginx-nar-wrong-hash nix-serve-nginx-log nix-serve-direct-root nix-serve-direct-404
      nix-serve-direct-cache-info nix-serve-direct-narinfo nix-serve-direct-narinfo-404 nix-serve-direct-nar
      nix-serve-direct-nar-old nix-serve-direct-nar-wrong-hash nix-serve-direct-log proxy-root proxy-login
      proxy-login-origin-backend proxy-login-origin-https proxy-login-origin-with-port proxy-project-put
      proxy-put-no-origin proxy-delete-no-origin proxy-latest direct-x-request-base direct-xforwarded-host
      direct-xforwarded-proto direct-x-request-base-login direct-x-request-base-login-browserlike-origin`),
  },
  {
    name: 'a project with a repository',
    logins: { '8de3c07208fe2aa3a8fd407b97b146b39089e3a5': 'alice' },
    exchanges: words(`
      live-project-put live-jobset-put live-jobset-put-missing-file live-jobset-put-missing-input
      live-jobset-put-missing-repo live-push live-jobset-after-push`),
  },
  {
    name: 'its second push',
    sql: liveFlake,
    logins: { '0acee0be109f7707987ba3aa69ecf471dff1adfe': 'alice' },
    exchanges: words(`live-jobset-put-flake live-push-all`),
  },
  {
    name: 'its first builds',
    rows: {
      places: [{ id: 7, project: 'live', jobset: 'main', isCurrent: true }],
      unseen: { ...noneUnseen, constituents: { 24: [26, 28] } },
    },
    sql: build25,
    jobsets: [
      'live-jobset-main-errors',
      'live-jobset-nofile-errors',
      'live-jobset-noinput-errors',
      'live-jobset-norepo',
      'live-jobset-flake',
    ],
    exchanges: words(`
      live-api-jobsets live-job-latest live-job-latest-followed live-job-latest-constituents
      live-job-latest-finished live-job-latest-finished-followed live-job-latest-finished-constituents
      live-job-nested live-job-nested-followed live-job-nested-constituents live-jobset-flake
      live-jobset-flake-evals live-jobset-main live-jobset-main-errors live-jobset-main-evals
      live-jobset-nofile-errors live-jobset-noinput live-jobset-noinput-errors live-jobset-norepo live-latestbuilds
      live-queue`),
  },
  {
    name: 'the flake, forced',
    logins: { '9895ae00663e5fc3ef8d6bca643bfb9e23e006b4': 'alice' },
    exchanges: words(`live-push-flake-force`),
  },
  {
    name: 'what one can do to builds',
    rows: { places: [{ id: 9, project: 'live', jobset: 'flake', isCurrent: true }], unseen: noneUnseen },
    jobsets: ['live2-jobset-main'],
    logins: {
      ae3774931732c94451f275e94325598217f0881c: 'alice',
      '69b49e485ed4aaf8c5a0009caaf33ca313062515': 'robert',
    },
    exchanges: words(`
      live2-flake-evals live2-jobset-main build-restart-anonymous build-restart-no-rights
      build-restart build-restart-not-finished build-get-restarted build-cancel build-cancel-finished
      build-get-cancelled build-bump build-keep eval-bump eval-cancel eval-restart-failed admin
      admin-clear-queue users user-404 user-get user-get-other user-put-password user-put-short-password
      user-put-roles-as-admin logout-get logout current-user-after-logout expired-session`),
  },
  {
    name: 'a push by repository',
    logins: { e9fdeba257cfd7fb63cecc5100f654e9946b0396: 'alice' },
    exchanges: words(`live-push-repo`),
  },
  {
    name: 'its builds',
    rows: {
      places: [{ id: 10, project: 'live', jobset: 'main', isCurrent: true }],
      unseen: { ...noneUnseen, failed: { 10: 1 } },
    },
    exchanges: words(`live2-latest-eval live2-evals live2-jobset-main-evals api-scmdiff`),
  },
  {
    name: 'addresses that a proxy tells',
    exchanges: words(`
      proxy-login-https-forwarded proxy-login-https-forwarded-noport proxy-login-request-base
      login-referer-beats-origin`),
  },
]
