// The columns of the data block, by name.

const SITES = DATA.sites;
const COUNT = SITES.key.length;

const string = (place) => DATA.strings[place];

const frameAt = (place) => ({
  lang: DATA.languages[DATA.frames[0][place]],
  name: string(DATA.frames[1][place]),
  place: string(DATA.frames[2][place]),
  inlined: DATA.frames[3][place] === 1,
});

const lineAt = (place) => ({
  lang: DATA.languages[DATA.lines[0][place]],
  name: string(DATA.lines[1][place]),
  place: string(DATA.lines[2][place]),
});

const siteKeys = SITES.key.map(string);
const siteOf = new Map(siteKeys.map((key, site) => [key, site]));
