// @ts-check
// The words that Korean and Japanese write directly after a name: particles, honorifics, 이다.
//
// A copy of the lists in rooms/markup/suffixes.py, which has the comments on them;
// tests/rooms/markup/test_mentions_of_composer.py compares both.

/** The maximum number of characters after a name that are compared; a longer word is no suffix. */
export const MAX_LENGTH = 16;

const TITLES = words(`
  님 씨 군 양 쌤 샘 선생님 선배 선배님 들 네 측 쪽 본인 자신
`);
const PARTICLES = words(`
  께서 에 에게 에게로 에게서 한테 한테로 한테서 께 더러 보고 에서 에다 에다가 으로 로 으로서 로서 으로써 로써 으로부터 로부터 와 과 하고 이랑 랑 처럼 같이 만큼 만치 보다
  마냥 대로 만 까지 마저 조차 부터 밖에 뿐 은커녕 는커녕 커녕 마다 씩 치고 따라 말고 빼고 대신 덕분에 때문에 등 등등
`);
const LAST = words(`
  이 가 을 를 의 은 는 도 이나 나 이나마 나마 이라도 라도 이든 든 이든지 든지 이든가 든가 이야 야 이야말로 야말로 이며 며 이고 고 하며 이란 란 이라곤 라곤 아 여 이여
  이시여 시여 요 에겐 에게선 한텐 한테선 께선 에선 엔 론 으론 까진 부턴 보단 곤
`);
const ENDINGS = words(`
  다 다고 다는 다며 다면 다면서 다니 다니까 다만 단다 답니다 대 대요 고 고요 고는 고도 며 면 면서 면은 니 니까 니까요 나 나요 냐 냐고 네 네요 군 군요 구나 구먼 구만 지
  지요 죠 지만 지만요 지는 잖아 잖아요 잖습니까 거든 거든요 거나 든 든지 든가 던 던가 던가요 던데 던데요 던지 더라 더라고 더라고요 더라도 더니 더군 더군요 더라면 자 자마자
  므로 기 기에 기도 기는 기만 기까지 기보다 기엔 긴 길 건대 건만 건 게 도록 려고 려나 려면 되 라 라고 라고요 라고는 라고도 라는 라니 라니까 라니요 라며 라면 라면서 라면요
  라서 라서요 라선 라도 라도요 란 란다 랍니다 랍니까 래 래요 래서 라네 라네요 라지 라지요 라죠 라더라 라던데 라던데요 라든지 라든가 라든 라기 라기보다 라기보다는 라기엔 라기에
  라곤 라야 라야만 라거나 라구 라구요 로다 로구나 로군 로군요 여 여서 여야 여야만 여도 여라 어 어요 어서 어야 어도 야 오 요 예요 에요 사 랴 아니 입니다 입니까 입니다만
`);
const FUSED = words(`
  예요 에요 여요 이에요 이예요 이여요 입니다 입니까 입니다만 입니다요 인 인데 인데요 인데도 인데다 인가 인가요 인가봐 인가봐요 인지 인지요 인지도 인지는 인지라 인즉 인들 인걸
  인걸요 인게 인줄 인양 인듯 인듯해 인듯해요 인만큼 일 일까 일까요 일지 일지도 일지는 일지라도 일텐데 일텐데요 일걸 일걸요 일수록 일뿐 일때 일거야 일거예요 일게 일세 일는지
  일라 임 임을 임에 임에도 임이 임은 임도 임과 임으로 이신 이신가 이신가요 이신데 이신데요 이신지 이실 이실까 이실까요 이실지 이심 이십니다 이십니까 이세요 이셔 이셔요 이셔서
  신가요 신데요 신지 실까요 십니다 십니까 세요 셔요 아닌 아닌가 아닌가요 아닌데 아닌데요 아닌지 아니다 아니고 아니라 아닙니다 아니에요 아니예요
`);
const PAST_ENDINGS = words(`
  다 다고 다는 다며 다면 다면서 다니 다니까 단다 답니다 대 대요 고 고요 으며 으면 으면서 으니 으니까 으니까요 으나 나 나요 나봐 나봐요 냐 냐고 네 네요 군 군요 구나 구먼
  구만 지 지요 죠 지만 지만요 잖아 잖아요 거든 거든요 거나 든 든지 든가 던 던가 던가요 던데 던데요 던지 더라 더라고 더라고요 더라도 더니 더군 더군요 더라면 으므로 기 기에
  기도 기는 기때문에 건만 을 을까 을까요 을지 을지도 을텐데 을걸 을때 음 음을 음에도 음이 는데 는데요 는데도 는지 는지도 는가 는가요 는걸 어 어요 어서 어야 어도 습니다
  습니까 습니다만 었다 었어요 었습니다 었는데 었던
`);
const PAST_STEMS = words(`
  이었 였 이였 이셨 셨 아니었
`);
const JAPANESE = words(`
  さん ちゃん くん さま 様 君 殿 氏 先生 先輩 たち 達 が は を に の と も へ で や から まで より だけ しか など か ね よ です ですか だ って には では とは にも
  でも との からの への だった でした なら
`);
const NEEDING_STEM = words(`
  다만 단다 대 대요 되 길 긴 건 게 자 기 사 랴 오 어 어요 어서 어야 어도 여라 도록 려고 려나 려면
`);

// Before these endings a name that ends in a vowel takes a consonant into its last syllable.
const ABSORBED =
  /^(?:\u11b8니(?:다|다만|까)|\u11ab(?:데|데요|가|가요|지|지요|들|데도)|\u11af(?:까|까요|지도|텐데|수록))$/u;

const CHAINED = new Set([...TITLES, ...PARTICLES]);
const FORMS = new Set([
  ...FUSED,
  ...[...ENDINGS].filter((ending) => !NEEDING_STEM.has(ending)),
  ...["이", "이시", "시"].flatMap((stem) => [...ENDINGS].map((ending) => stem + ending)),
  ...[...PAST_STEMS].flatMap((stem) => [...PAST_ENDINGS].map((ending) => stem + ending)),
]);
const ENDS = new Set(["", "요", ...LAST, ...FORMS]);
const LONGEST = Math.max(...[...CHAINED, ...JAPANESE].map((word) => word.length));

/** @param {string} text @returns {boolean} whether it is a chain of titles and particles, perhaps with a form of 이다 */
export function isKoreanSuffix(text) {
  if (text.length > MAX_LENGTH) return false;
  const ends = [...reach(text, CHAINED)].map((start) => text.slice(start));
  return ends.some((end) => ENDS.has(end) || ENDS.has(end.replace(/요$/u, "")));
}

/** @param {string} text @returns {boolean} whether it is a chain of Japanese honorifics and particles */
export function isJapaneseSuffix(text) {
  return text.length <= MAX_LENGTH && reach(text, JAPANESE).has(text.length);
}

/** @param {string} text that begins with a final consonant @returns {boolean} whether it is an ending of 이다 */
export function isAbsorbedEnding(text) {
  return ABSORBED.test(text);
}

/**
 * Returns the positions up to which `text` is a chain of `known` words.
 * @param {string} text
 * @param {Set<string>} known
 * @returns {Set<number>}
 */
function reach(text, known) {
  const reached = new Set([0]);
  for (let start = 0; start < text.length; start += 1) {
    if (!reached.has(start)) continue;
    for (let end = start + 1; end <= Math.min(start + LONGEST, text.length); end += 1) {
      if (known.has(text.slice(start, end))) reached.add(end);
    }
  }
  return reached;
}

/** @param {string} list @returns {Set<string>} */
function words(list) {
  return new Set(list.trim().split(/\s+/u));
}
