// What can go wrong, and whether it is worth another attempt.

export class NuskaError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, title?: string, retryAfter?: number, final?: boolean, cause?: unknown}} [about]
   */
  constructor(message, { status = 0, title = "", retryAfter = 0, final = false, cause } = {}) {
    super(message, { cause });
    this.name = "NuskaError";
    /** The server's status; 0 when there was no answer: then the call may have been carried out. */
    this.status = status;
    /** The server's short name for what is wrong. */
    this.title = title;
    /** Seconds after which the server invites another attempt. */
    this.retryAfter = retryAfter;
    /** No other attempt makes sense until somebody has done something about it. */
    this.final = final;
  }
}

const NOTHING_HAPPENED = [408, 429];
const TRY_LATER = [...NOTHING_HAPPENED, 502, 503, 504];

const ATTEMPTS = 5;
const FIRST_PAUSE = 0.1; // seconds; the ceiling of the first one, which doubles with each
const LONGEST_PAUSE = 5;

/** Whether this is a 503 in the server's own words that invites nobody to come again. */
export const isFinal = (status, title, retryAfter) => status === 503 && Boolean(title) && !retryAfter;

/** Whether the server may be well again later. */
export const passes = (error) =>
  error instanceof NuskaError && (error.status === 0 || TRY_LATER.includes(error.status));

/** Seconds to wait after failed attempt number `attempt`: a random share of a doubling ceiling. */
export const pause = (attempt, longest = LONGEST_PAUSE, first = FIRST_PAUSE) =>
  Math.random() * Math.min(longest, first * 2 ** Math.min(attempt - 1, 30));

/** Resolves after so many seconds, or at once when the signal says so. */
export const sleep = (seconds, signal) =>
  new Promise((done) => {
    if (signal?.aborted) return done();
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });

/**
 * The result of `once`, tried again where a second arrival of the request does no harm.
 *
 * A claim or a pop that broke half-way may have taken messages: it is `harmful` to repeat.
 */
export async function persist(once, { harmful = false } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once();
    } catch (error) {
      const may = harmful ? NOTHING_HAPPENED.includes(error.status) : passes(error);
      if (!may || error.final || attempt >= ATTEMPTS) throw error;
      await sleep(error.retryAfter + pause(attempt));
    }
  }
}
