// Events of your own types. Made by `tracker schemas build`; don't edit.

/** The properties of each type. */
export interface OwnEvents {
  /** Something was bought. */
  purchase: {
    order_id: string;
    total: number;
    coupon?: string;
    items?: ReadonlyArray<{
      sku: string;
      quantity?: number;
    }>;
  };
}

const VERSIONS: Readonly<Record<keyof OwnEvents, string>> = {
  purchase: "1-1-0",
};

/**
 * What `track` takes of an event of your own type, on a page and in Node:
 *
 *   tracker.track(...ownEvent("purchase", { … }));
 *   client.track(sessionId, ...ownEvent("purchase", { … }));
 *
 * `fields` are those that every event may have, such as `page_url`.
 */
export function ownEvent<Type extends keyof OwnEvents, Fields extends object = object>(
  type: Type,
  properties: OwnEvents[Type],
  fields?: Fields,
): [type: Type, fields: Fields & { schema: string; properties: OwnEvents[Type] }] {
  return [type, { ...(fields as Fields), schema: VERSIONS[type], properties }];
}
