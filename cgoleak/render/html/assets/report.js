// The columns of the data block, by name.

const SITES = DATA.sites;
const COUNT = SITES.key.length;

const string = (place) => DATA.strings[place];

const frameAt = (place) => ({
  at: place,
  lang: DATA.languages[DATA.frames[0][place]],
  name: string(DATA.frames[1][place]),
  place: string(DATA.frames[2][place]),
  inlined: DATA.frames[3][place] === 1,
  brief: string(DATA.frames[4][place]),
  library: string(DATA.frames[5][place]),
  call: string(DATA.frames[6][place]),
});

const siteKeys = SITES.key.map(string);
const siteOf = new Map(siteKeys.map((key, site) => [key, site]));
