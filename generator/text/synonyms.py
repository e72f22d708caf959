"""Words of free prompts that captions do not use, and the slot each one speaks of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SYNONYMS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("tempo", "slow"): (
            "adagio", "lento", "peaceful", "tranquil", "soothing", "restful", "sluggish",
            "chill", "serene", "dreamy", "slowly", "unrushed", "lazy", "mellowed out",
        ),
        ("tempo", "medium"): ("andante", "moderato", "strolling", "mid speed", "not too fast"),
        ("tempo", "fast"): (
            "allegro", "presto", "frantic", "racing", "exciting", "intense", "quickly", "hectic",
            "high energy", "driven", "vivacious", "fiery", "agitated", "running", "bouncy",
        ),
        ("mode", "major"): (
            "joyous", "cheery", "playful", "triumphant", "festive", "positive", "delightful",
            "victorious", "celebratory", "feel-good", "smiling", "jolly", "heroic",
        ),
        ("mode", "minor"): (
            "somber", "sombre", "depressing", "haunting", "lonely", "nostalgic", "eerie",
            "tearful", "grieving", "scary", "spooky", "mysterious", "heartbroken", "bleak",
            "ominous", "tense", "longing", "sadness",
        ),
        ("tone", "bright"): ("glassy", "shimmering", "brightness", "tinny", "shrill", "radiant"),
        ("tone", "mellow"): ("soft-sounding", "smooth", "deep", "cosy", "cozy", "hazy", "dusty"),
        ("density", "dense"): (
            "ornate", "many-voiced", "thick", "layered", "virtuosic", "bustling", "heavy texture",
        ),
        ("density", "sparse"): (
            "empty", "economical", "quiet and simple", "reduced", "uncomplicated", "bare-bones",
            "less is more",
        ),
        ("drums", "none"): (
            "drum-free", "beatless", "no beat", "no drum", "without a drum", "unaccompanied",
        ),
        ("drums", "soft"): ("brushes", "shaker", "light beat", "subtle drums", "a little drumming"),
        ("drums", "driving"): (
            "punchy drums", "big drums", "rock beat", "thumping", "stomping", "strong drums",
            "kick drum", "energetic drums", "four on the floor",
        ),
        ("style", "ballad"): ("serenade", "slow dance", "romance", "emotional ballad"),
        ("style", "lo-fi"): ("lofi hiphop", "hip-hop", "chill beats", "boom bap", "study music"),
        ("style", "waltz"): ("viennese waltz", "triple time", "three-four", "ballroom"),
        ("style", "march"): ("anthem", "procession", "parade", "army", "soldiers", "fanfare"),
        ("style", "dance"): ("house", "edm", "electro", "clubbing", "disco", "eurodance", "trance"),
        ("style", "folk"): ("country", "bluegrass", "celtic", "irish jig", "singer-songwriter"),
        ("style", "lullaby"): ("bedtime", "nursery rhyme", "sleep music", "for a baby", "cradle"),
        ("style", "ambient"): ("soundscape", "atmospheric", "spacey", "new age", "meditative"),
        ("lead", "piano"): ("keyboard", "upright piano", "electric piano", "rhodes"),
        ("lead", "music box"): ("celesta", "glockenspiel", "chimes", "toy piano"),
        ("lead", "acoustic guitar"): ("ukulele", "banjo", "strummed guitar", "fingerpicking"),
        ("lead", "strings"): ("violin", "cello", "viola", "orchestra", "string quartet"),
        ("lead", "trumpet"): ("trombone", "cornet", "horns", "brass band", "brassy"),
        ("lead", "flute"): ("recorder", "pan flute", "piccolo", "whistle", "tin whistle"),
        ("lead", "synth lead"): ("electronic", "chiptune", "8-bit", "synthwave", "analog synth"),
        ("lead", "organ"): ("harmonium", "organist", "church keyboard"),
        ("swing", "True"): ("jazzy", "shuffled", "swingy"),
    }
)  # fmt: skip

FILLERS = (
    "sunset", "forest", "ocean", "city", "night", "morning", "rain", "video game", "cat", "wedding",
    "birthday", "coffee shop", "my grandmother", "spaceship", "dragon", "winter", "summer",
    "river", "dinner", "journey", "memories", "nothing", "anything", "whatever", "good",
    "best", "nice", "beautiful", "amazing", "interesting", "test", "hello", "movie scene",
    "at home", "in the garden", "tomorrow", "robot", "desert", "castle", "train", "cooking",
)  # fmt: skip
"""Words that speak of no slot; the planner learns to leave everything open at them."""
