/** The rows of one type by their entity key. */
export type Rows<Value> = ReadonlyMap<string, Value>;

export interface Status {
    /**
     * - `connecting`: a socket is being opened, or the first rows are on their way.
     * - `catching-up`: frames come, and more are on their way.
     * - `open`: what is here is what the server's tables hold, and they had reached the stream's
     *   tail.
     * - `waiting`: the connection is lost and will be retried automatically.
     * - `refused`: no further attempt is made; `code` says why (4401, 4403, 4404, 4429, 1008
     *   or 1009).
     * - `closed`: you have closed it.
     */
    readonly state: "connecting" | "catching-up" | "open" | "waiting" | "refused" | "closed";
    /** The close code of the socket or subscription, 0 where there is none. */
    readonly code: number;
    readonly text: string;
}

export interface Change<Type extends string = string, Value = unknown> {
    readonly type: Type;
    readonly key: string;
    readonly operation: "insert" | "update" | "delete";
    /** `undefined` for a deletion. */
    readonly value: Value | undefined;
    /** What the Map held before; `undefined` for an insertion. */
    readonly previous: Value | undefined;
}

export interface Changes<Types extends object> {
    readonly changes: readonly { [T in keyof Types & string]: Change<T, Types[T]> }[keyof Types &
        string][];
    /** Whether these are the first rows. */
    readonly initial: boolean;
    /** The transactions that came with them. */
    readonly txids: readonly string[];
}

export interface Options {
    /** The entity types to follow; all that you may see by default. An empty list is refused. */
    types?: readonly string[];
    /** The entity keys to follow; all by default. An empty list is refused. */
    keys?: readonly string[];
    /**
     * Where `websocket_urlpatterns` is mounted: the page's `<meta name="durable-state-socket">`,
     * else `/ws/state/`.
     */
    url?: string | URL;
    /** Subprotocols of the socket, such as `["durable-state", token]`. */
    protocols?: string[];
    /** Closes the subscription when it is aborted. */
    signal?: AbortSignal;
}

export interface Frame {
    readonly items: readonly {
        readonly type?: string;
        readonly key?: string;
        readonly value?: unknown;
        readonly headers: {
            readonly operation?: string;
            readonly control?: string;
            readonly txid?: string;
            readonly txids?: readonly string[];
        };
    }[];
    readonly offset: string;
    readonly upToDate: boolean;
}

export interface Subscription {
    readonly status: Status;
    /** Where a later subscription could continue; undefined until the first rows are complete. */
    readonly offset: string | undefined;
    close(): void;
    /** Tries again after it was refused or closed. */
    retry(): void;
}

/** The rows of one stream, equal to what the server's tables show this user. */
export class FollowedStream<Types extends object = Record<string, any>> extends EventTarget {
    readonly stream: string;
    /** Whether the first rows are complete. */
    readonly complete: boolean;
    /** Resolves once the first rows are complete; rejects when it is refused or closed. */
    readonly ready: Promise<this>;
    readonly status: Status;
    readonly offset: string | undefined;
    /** The types that have rows here, or that you have passed to `rows`. */
    readonly types: string[];
    /** The rows of a type by key: the same Map each time, changed as changes come. */
    rows<T extends keyof Types & string>(type: T): Rows<Types[T]>;
    /**
     * After each commit that changed anything here, and once for the first rows, even if there
     * are none.
     */
    on(
        name: "change",
        listener: (detail: Changes<Types>, stream: this) => void,
        options?: AddEventListenerOptions,
    ): this;
    on(
        name: "status",
        listener: (detail: Status, stream: this) => void,
        options?: AddEventListenerOptions,
    ): this;
    on(
        name: "txids",
        listener: (detail: readonly string[], stream: this) => void,
        options?: AddEventListenerOptions,
    ): this;
    /**
     * Resolves once a transaction has arrived, whatever became of its changes; rejects after some
     * milliseconds (default 30,000), and when the stream is refused or closed.
     */
    awaitTxId(txid: string, milliseconds?: number): Promise<void>;
    close(): void;
    retry(): void;
}

/** Follows a stream and keeps its rows. */
export function follow<Types extends object = Record<string, any>>(
    stream: string,
    options?: Options,
): FollowedStream<Types>;

/** Follows a stream without keeping anything: `onFrame` gets its frames as they come. */
export function subscribe(
    stream: string,
    options?: Options & {
        offset?: string;
        onFrame?: (frame: Frame) => void;
        onStatus?: (status: Status) => void;
    },
): Subscription;

/** Close codes after which another attempt would get the same answer, with a sentence for each. */
export const FINAL_CODES: Readonly<Record<number, string>>;
