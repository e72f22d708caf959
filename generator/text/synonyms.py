"""Words of free prompts that captions do not use, and the slot each one speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SYNONYMS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("tempo", "slow"): (
            "adagio", "lento", "largo", "grave", "larghetto", "peaceful", "tranquil", "soothing",
            "restful", "sluggish", "chill", "chilled", "chillout", "serene", "dreamy", "unrushed",
            "lazy", "languid", "languorous", "plodding", "crawling", "dragging", "trudging",
            "ponderous", "placid", "sleepy", "drowsing", "mellowed out", "low energy",
            "easy pace", "slow motion", "takes its time", "calming", "relaxing", "relax",
            "slowed down", "half asleep", "gentle pace", "leisure", "snail", "solemn", "stately",
            "idle", "slow burning", "at ease", "lethargic", "meandering", "drifting",
        ),
        ("tempo", "medium"): (
            "andante", "moderato", "strolling", "mid speed", "middling tempo", "medium",
            "moderately", "walking", "ambling", "jogging pace", "comfortable pace", "mid paced",
            "medium pace", "moderate pace", "neither fast nor slow", "andantino", "unforced",
        ),
        ("tempo", "fast"): (
            "allegro", "presto", "vivace", "prestissimo", "frantic", "racing", "exciting",
            "hectic", "high energy", "high octane", "driven", "vivacious", "fiery", "agitated",
            "running", "bouncy", "breakneck", "frenetic", "frenzied", "furious", "hurry", "hasty",
            "zippy", "peppy", "snappy", "nimble", "swift", "galloping", "whirlwind", "turbo",
            "sprinting", "adrenaline", "pumping", "vigorous", "dynamic", "animated", "spirited",
            "rushing", "chase", "hyper", "hyperactive", "rollicking", "full throttle", "excited",
            "high tempo", "lightning speed", "full speed", "double time", "action packed",
            "workout", "urgent", "pacy", "perky", "quickfire", "high paced",
        ),
        ("mode", "major"): (
            "joyous", "joy", "cheery", "cheer", "playful", "triumphant", "festive", "positive",
            "delightful", "delighted", "victorious", "celebratory", "celebration", "feel good",
            "smiling", "smile", "jolly", "heroic", "carefree", "blissful", "bliss", "ecstatic",
            "elated", "euphoric", "exuberant", "jubilant", "gleeful", "glee", "jovial", "bubbly",
            "lighthearted", "light hearted", "good mood", "good humoured", "good humored", "hope",
            "optimism", "happiness", "sunshine", "sunlit", "wholesome", "innocent", "frolicking",
            "frolic", "giddy", "laughing", "laughter", "fun", "funny", "silly", "comical",
            "whimsical", "encouraging", "inspiring", "radiant mood", "buoyant", "rosy", "proud",
            "glorious", "content", "contented", "pleased", "rejoicing", "rejoice", "gay",
            "mirthful", "upliftingly", "cheerfulness", "feelgood", "good vibes", "😊", "😀", "😄",
            "😁", "🙂", "🥳", "☀", "🌞",
        ),
        ("mode", "minor"): (
            "somber", "sombre", "depressing", "depressed", "depression", "haunting", "haunted",
            "lonely", "lonesome", "loneliness", "lone", "nostalgic", "eerie", "tearful", "tears",
            "grieving", "grief", "scary", "spooky", "creepy", "ghostly", "mysterious", "mystery",
            "heartbroken", "heartbreak", "heartache", "bleak", "ominous", "tense", "longing",
            "sadness", "sorrow", "brooding", "desolate", "desolation", "dismal", "dreary",
            "forlorn", "glum", "gloom", "grim", "melancholia", "miserable", "misery", "morose",
            "mourning", "murky", "pensive", "plaintive", "sinister", "tragedy", "troubled",
            "weeping", "crying", "cry", "woeful", "yearning", "downcast", "despair", "despairing",
            "hopeless", "funeral", "funereal", "lament", "lamenting", "blue mood", "the blues",
            "breakup", "break up", "farewell", "goodbye", "tear jerker", "tearjerker", "doleful",
            "dejected", "anguished", "anguish", "suffering", "darkness", "menacing",
            "threatening", "unsettling", "gothic", "macabre", "sullen", "disconsolate",
            "poignant", "regret", "regretful", "horror", "fearful", "dread", "requiem", "elegy",
            "elegiac", "suspense", "suspenseful", "😢", "😭", "😔", "💔", "🥀",
        ),
        ("tone", "bright"): (
            "glassy", "shimmering", "shimmer", "brightness", "tinny", "shrill", "radiant",
            "crystalline", "crystal clear", "glistening", "gleaming", "twinkling", "tinkling",
            "icy", "metallic", "piercing", "trebly", "treble", "high frequencies", "brittle",
            "jangly", "ringing", "luminous", "dazzling", "glinting", "vivid tone", "silvery",
        ),
        ("tone", "mellow"): (
            "soft sounding", "smooth", "deep", "cosy", "cozy", "hazy", "dusty", "soft", "softly",
            "velvet", "silky", "woolly", "wooly", "rounded", "muddy", "lush warm", "subdued tone",
            "dark tone", "bassy", "hushed", "blurred", "fuzzy", "foggy", "cushioned", "buttery",
            "creamy", "honeyed", "gentle tone", "warmth", "toasty", "low pass", "lowpass",
            "little high end", "rolled off", "snug", "damped", "veiled", "murmuring",
        ),
        ("density", "dense"): (
            "ornate", "many voiced", "thick", "layered", "virtuosic", "virtuoso", "bustling",
            "heavy texture", "lots happening", "much going on", "packed", "ornamented",
            "embellished", "florid", "full texture", "thick texture", "cluttered",
            "wall of sound", "overloaded", "maximalist", "note heavy", "as many notes",
            "so many notes", "rich texture", "a thousand notes", "countless notes", "stacked",
            "grand arrangement", "flurry", "flurries", "cascading", "cascades", "complicated",
            "detailed", "hundreds of notes",
        ),
        ("density", "sparse"): (
            "empty", "economical", "quiet and simple", "reduced", "uncomplicated", "bare bones",
            "bare", "naked", "skeletal", "scarce", "minimalism", "minimalistic", "bareboned",
            "breathing room", "breathing space", "room to breathe", "space to breathe",
            "a single note", "single notes", "empty space", "endless space", "a few notes",
            "very few notes", "lots of silence", "austere", "plain", "open space", "pared down",
            "pared back", "stripped back", "stripped", "unadorned", "modest", "understated",
            "sparing", "basic", "easy to play", "one note at a time", "lots of air", "scant",
        ),
        ("drums", "none"): (
            "drumless", "beatless", "no beat", "no drum", "without a drum", "unaccompanied",
            "no drum kit", "no percussion", "without percussion", "a cappella", "no drumming",
            "no rhythm section", "no snare", "no kick", "no cymbals", "no hi hats",
        ),
        ("drums", "soft"): (
            "soft drums", "soft percussion", "soft beat", "quiet drums", "light percussion",
            "brushes", "brush", "shaker", "shakers", "light beat", "subtle drums",
            "a little drumming", "light drums", "gentle percussion", "light drumming",
            "gentle drumming", "mellow drums", "muffled drums", "quiet percussion",
            "a bit of percussion", "a little percussion", "some percussion", "delicate drums",
            "restrained drums", "tambourine", "bongos", "brushed snare", "soft snare",
            "hand drums", "subtle percussion", "unobtrusive drums", "laid back drums",
            "gentle beat", "soft drumming", "dusty drums", "relaxed drums", "easy beat",
            "understated drums", "sparse drums", "tapping",
        ),
        ("drums", "driving"): (
            "punchy drums", "big drums", "rock beat", "thumping", "stomping", "strong drums",
            "kick drum", "energetic drums", "four on the floor", "four to the floor",
            "four floor", "hard drums", "massive drums", "heavy percussion", "pounding beat",
            "heavy beat", "driving beat", "loud percussion", "drum heavy", "huge drums",
            "booming drums", "thunderous drums", "thundering drums", "crashing drums",
            "banging drums", "fast drums", "relentless drums", "pumping beat", "pounding",
            "massive kick", "heavy kick", "big kick", "hard kick", "big beat", "strong drum",
            "heavier drums", "loud drum", "battering drums", "aggressive drums", "driving rhythm",
            "strong rhythm", "hammering", "booming beat", "drum and bass", "drum solo",
            "pounding toms", "big beats", "powerful beat", "driving percussion", "intense drums",
            "punchy beat", "pulsing beat",
        ),
        ("style", "ballad"): (
            "serenade", "slow dance", "romance", "emotional ballad", "ballads", "love ballad",
            "romantic", "love theme", "power ballad", "torch song", "love tune", "slow jam",
            "wedding song", "first dance", "song of love", "valentine",
        ),
        ("style", "lo-fi"): (
            "lo-fi", "lofi", "lo-fi music", "lo-fi beats", "lofi hiphop", "hip-hop", "hiphop",
            "chill beats", "boom bap", "study music", "study beats", "chill hop", "low fidelity",
            "trip-hop", "jazzhop", "homework beats", "beats to study", "chillhop beats",
            "lofi track", "study session",
        ),
        ("style", "waltz"): (
            "viennese waltz", "triple time", "three-four", "ballroom", "three four time", "valse",
            "waltzing", "waltz time", "in triple metre", "in triple meter", "three quarter",
        ),
        ("style", "march"): (
            "march", "military march", "anthem", "procession", "parade", "army", "soldiers",
            "fanfare", "military", "processional", "marching band", "marching", "troops",
            "regiment", "on parade",
        ),
        ("style", "dance"): (
            "dance", "dancing", "dance tune", "techno", "house beat", "house", "edm", "electro",
            "clubbing", "disco", "eurodance", "trance", "dancefloor", "dance floor", "nightclub",
            "rave", "club", "party", "club banger", "banger", "aerobics", "house music",
            "danceable", "techno track", "discotheque", "eurobeat", "synthpop", "dance pop",
            "electropop", "bop", "🎉", "💃", "🕺", "🪩",
        ),
        ("style", "folk"): (
            "folk", "folk ballad", "country", "bluegrass", "celtic", "irish jig",
            "singer-songwriter", "jig", "reel", "americana", "folksong", "folky", "campfire",
            "hoedown", "shanty", "barn dance", "traditional song", "traditional tune",
            "troubadour", "folklore", "rustic", "folktune", "irish", "scottish", "pub song",
            "village fair",
        ),
        ("style", "lullaby"): (
            "bedtime", "nursery rhyme", "sleep music", "for a baby", "cradle", "lullabies",
            "berceuse", "nursery", "fall asleep", "falling asleep", "go to sleep", "to sleep",
            "goodnight", "good night", "put the baby to sleep", "sleeping baby", "sleeping child",
        ),
        ("style", "ambient"): (
            "ambient", "ambient sounds", "drone", "soundscape", "atmospheric", "spacey",
            "new age", "meditative", "atmosphere", "meditation", "soundscapes", "drones",
            "ethereal", "floating pads", "pads", "yoga", "ambience", "ambiance", "drone music",
            "spa", "mindfulness", "textural", "pad", "deep space", "weightless",
        ),
        ("lead", "piano"): (
            "keyboard", "upright piano", "electric piano", "rhodes", "wurlitzer", "pianos",
            "pianoforte", "steinway", "ivories", "fender rhodes", "ep keys", "harpsichord",
            "clavichord", "keyboards", "🎹",
        ),
        ("lead", "music box"): (
            "celesta", "celeste", "glockenspiel", "chimes", "toy piano", "bells", "musicbox",
            "xylophone", "vibraphone", "marimba", "kalimba", "bell", "chime", "wind-up toy",
            "musical box", "carillon",
        ),
        ("lead", "acoustic guitar"): (
            "acoustic", "guitars", "ukulele", "banjo", "strummed guitar", "fingerpicking",
            "finger picking", "finger picked", "fingerpicked", "fingerstyle", "mandolin", "lute",
            "steel guitar", "spanish guitar", "six string", "strumming", "guitar picking", "harp",
            "uke", "strum", "plucked guitar", "🎸", "🪕",
        ),
        ("lead", "strings"): (
            "violin", "cello", "viola", "orchestra", "string quartet", "fiddle", "celli",
            "violas", "cellos", "double bass", "bowed", "orchestral", "string orchestra",
            "string trio", "chamber strings", "symphonic", "symphony", "bowed strings",
            "string ensemble", "fiddler", "cellist", "🎻",
        ),
        ("lead", "trumpet"): (
            "trombone", "cornet", "horns", "brass band", "brassy", "french horn", "flugelhorn",
            "tuba", "bugler", "brass section", "brass ensemble", "saxophone", "sax", "mariachi",
            "big band", "🎺", "🎷", "📯",
        ),
        ("lead", "flute"): (
            "recorder", "pan flute", "piccolo", "whistle", "tin whistle", "panpipes", "pan pipes",
            "ocarina", "clarinet", "oboe", "woodwinds", "fife", "shakuhachi", "pennywhistle",
            "flautist", "whistling", "bamboo flute", "bassoon", "🪈",
        ),
        ("lead", "synth lead"): (
            "synth pads", "synth pad", "chiptune", "8-bit", "16-bit", "synthwave", "analog synth",
            "analogue synth", "synths", "electronic", "electronica", "moog", "sawtooth",
            "square wave", "saw lead", "arpeggiator", "synthesised", "synthesized", "theremin",
            "retro synth", "keytar", "electronic sounds", "synthy", "modular synth",
            "computer game", "gameboy", "arcade", "video game", "retrowave",
        ),
        ("lead", "organ"): (
            "harmonium", "organist", "church keyboard", "hammond", "accordion", "bandoneon",
            "cathedral organ", "barrel organ", "b3", "calliope", "hurdy gurdy", "organs",
            "concertina", "harmonica",
        ),
        ("swing", "True"): (
            "jazzy", "shuffled", "swingy", "swing", "swung", "shuffle", "swing feel", "swinging",
            "shuffle feel", "swing rhythm", "ragtime", "swung eighths", "lazy swing",
        ),
        ("swing", "False"): (
            "straight", "straight beat", "straight eighths", "straight rhythm", "straight eighth",
            "unswung", "even eighths",
        ),
    }
)  # fmt: skip

DENIED: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("drums", "none"): (
            "drums", "drum", "percussion", "beat", "drum kit", "drumming", "drummer", "snare",
            "cymbals", "kick", "rhythm section", "drum machine", "drum set", "drum track",
            "beats", "drum sounds", "drum beat", "any drums", "hi hats", "🥁", "percussive",
            "drum part",
        ),
        ("drums", "soft"): (
            "loud", "loud drums", "heavy drums", "pounding drums", "heavy beat", "hard beat",
            "big drums", "driving drums", "aggressive drums", "loud percussion", "noisy drums",
        ),
        ("density", "sparse"): (
            "notes", "going on", "many notes", "crowded", "lots of notes",
        ),
        ("density", "dense"): (
            "few notes", "boring", "silence", "gaps",
        ),
        ("tone", "mellow"): (
            "harsh", "harsh highs", "shrill", "piercing", "treble", "highs", "sharp",
        ),
        ("tone", "bright"): (
            "muffled", "dull", "muddy", "bass heavy", "dark tone",
        ),
        ("tempo", "medium"): (
            "rushed", "rushing", "hurried", "hasty", "frantic", "hectic", "sluggish", "dragging",
            "boring pace",
        ),
        ("mode", "major"): (
            "depressing", "crying", "tears", "scary", "mournful",
        ),
        ("mode", "minor"): (
            "cheesy", "joy", "smile", "hope", "laughing",
        ),
    }
)  # fmt: skip
"""What a prompt may want none of, beside the opposites of the words above."""

FILLERS = (
    "sunset", "forest", "ocean", "city", "night", "morning", "rain", "game", "cat", "wedding",
    "birthday", "coffee shop", "my grandmother", "spaceship", "dragon", "winter", "summer",
    "river", "dinner", "journey", "memories", "anything", "whatever", "good", "best", "nice",
    "beautiful", "amazing", "interesting", "test", "hello", "movie scene", "at home",
    "in the garden", "tomorrow", "robot", "desert", "castle", "train", "cooking", "time",
    "time off", "a room", "floor", "pace", "speed", "energy", "lead", "box", "four", "three",
    "high", "low", "heavy", "big", "light", "good people", "wave", "open", "space", "baby", "toy",
    "love", "drums", "beat", "percussion", "a beat", "some drums", "band", "section", "solo",
    "quiet", "loud",
)  # fmt: skip
"""Words that speak of no slot, or not alone; the planner learns to leave all open at them."""
