// Regions of Label Studio's editor, and their states: a region's plain values, as the history keeps them.
//
// Score and meta are kept twice, by the region and by its result; of meta the region's counts.

export const isPoint = (region) => region.type === "keypointregion";

export const pointsOf = (annotation) => annotation.regions.filter(isPoint);

/** Return the id of the person whom a region shows, or null. */
export function personIdOf(region) {
  if (!isPoint(region)) return region.cleanId;
  return region.parentID ? cleanId(region.parentID) : null;
}

/** Return a region's id without the annotation's, which the editor appends. */
export const cleanId = (id) => id.replace(/#.*/, "");

export const scoreOf = (region) => resultIn(region)?.score ?? region.score ?? 1;

/** Return "absent", "occluded" or "visible". */
export function visibilityOf(region) {
  const chosen = region.results.find(({ type }) => type === "choices");
  return chosen?.mainValue?.[0] ?? "visible";
}

export const placeIn = (state) => `${state.x} ${state.y}`;

export const isHeldIn = (state) => Boolean(metaIn(state).held);

export function metaIn(state) {
  return { ...resultIn(state)?.meta, ...state.meta };
}

/** Return a state with other values; what is not given stays, also within meta. */
export function withValues(state, { place, meta, ...score }) {
  const both = meta ? { ...score, meta: { ...metaIn(state), ...meta } } : score;
  const results = state.results.map((result) => (isLabelling(result) ? { ...result, ...both } : result));
  return { ...state, ...place, ...both, results };
}

/** The values that mark a point as placed by a human. */
export const HELD = { meta: { held: true } };

/** Change a region's values. */
export const setValues = (region, values) => region.$treenode.applySnapshot(withValues(region.toJSON(), values));

const isLabelling = (result) => result.type.endsWith("labels");

const resultIn = (state) => state.results.find(isLabelling);
