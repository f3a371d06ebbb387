"""Short comments as customers write them, by language and by what they are about.

Keys: `detractor`, `promoter`, `converted` (was passive, now a promoter), `passive` (gave no reason), the five reasons.
"""

from __future__ import annotations

ENGLISH: dict[str, tuple[str, ...]] = {
    "detractor": (
        "Waited three days for an answer from support.",
        "The last update broke our export and nobody warned us.",
        "Too many small bugs. We spend more time on workarounds than on work.",
        "The invoice was wrong twice in a row.",
        "It is slow when more than a few of us are logged in.",
        "We were promised an integration that still isn't there.",
    ),
    "passive": (
        "Fine.",
        "Does what it should.",
        "Good, but I wouldn't bring it up over dinner.",
        "OK so far.",
    ),
    "expectations_met": (
        "It does what we bought it for. No more, no less.",
        "As described. Nothing has surprised us yet.",
        "Delivered what was agreed.",
        "Solid, just not something I'd tell others about.",
    ),
    "no_major_problems": (
        "No complaints, really.",
        "Works. The odd hiccup, but nothing serious.",
        "Nothing wrong with it.",
        "A few rough edges in the reports, otherwise fine.",
    ),
    "indifferent": (
        "I use it because it was already here.",
        "One tool among many.",
        "Don't have strong feelings about it.",
        "Could just as well be another supplier.",
    ),
    "needs_more_time": (
        "We have only just started, ask me again in a couple of months.",
        "Too early to say. Half the team isn't on it yet.",
        "Still finding our way around the settings.",
        "The set-up went well, now we need to see it in daily use.",
    ),
    "value_for_price": (
        "Good product, but the price has crept up.",
        "We pay for a lot that we don't use.",
        "A bit expensive for a team of five.",
        "Would be a 9 if reporting was part of our plan.",
    ),
    "promoter": (
        "Saves us hours every week.",
        "Support knew our set-up and fixed it on the first call.",
        "I've already recommended it to two colleagues.",
        "Easy to use and it just works.",
        "The people behind it listen.",
    ),
    "converted": (
        "You called me after the last survey and the problem was gone within a week. That counts.",
        "It took a while, but now everyone here uses it.",
        "The new reports were what we were missing.",
        "After the walk-through with your team we finally get the full benefit.",
    ),
}

NORWEGIAN: dict[str, tuple[str, ...]] = {
    "detractor": (
        "Ventet tre dager på svar fra kundeservice.",
        "Siste oppdatering ødela eksporten vår, og ingen sa fra.",
        "For mange småfeil. Vi bruker mer tid på å omgå dem enn på jobben.",
        "Fakturaen var feil to ganger på rad.",
        "Tregt så fort flere enn noen få er logget inn.",
    ),
    "passive": (
        "Helt greit.",
        "Gjør det det skal.",
        "Bra nok, men ikke noe jeg snakker om.",
        "Ok så langt.",
    ),
    "expectations_met": (
        "Gjør det vi kjøpte det for. Verken mer eller mindre.",
        "Som forventet. Ingen overraskelser ennå.",
        "Vi fikk det som var avtalt.",
        "Solid, men ikke noe jeg anbefaler av meg selv.",
    ),
    "no_major_problems": (
        "Ingenting å klage på, egentlig.",
        "Det virker. Noe rusk innimellom, men ikke noe alvorlig.",
        "Ikke noe galt med det.",
        "Rapportene kunne vært bedre, ellers greit.",
    ),
    "indifferent": (
        "Bruker det fordi det var her da jeg begynte.",
        "Ett verktøy blant mange.",
        "Har ingen sterke meninger om det.",
        "Kunne like gjerne vært en annen leverandør.",
    ),
    "needs_more_time": (
        "Vi har akkurat begynt, spør igjen om et par måneder.",
        "For tidlig å si. Halve teamet er ikke i gang ennå.",
        "Leter fortsatt litt i innstillingene.",
        "Oppstarten gikk fint, nå må vi se hvordan det blir i hverdagen.",
    ),
    "value_for_price": (
        "Bra produkt, men prisen har sneket seg oppover.",
        "Vi betaler for mye vi ikke bruker.",
        "Litt dyrt for et team på fem.",
        "Hadde fått en nier hvis rapportene var med i planen vår.",
    ),
    "promoter": (
        "Sparer oss for flere timer i uka.",
        "Kundeservice kjente oppsettet vårt og løste det på første forsøk.",
        "Har allerede anbefalt det til to kolleger.",
        "Enkelt i bruk, og det bare virker.",
    ),
    "converted": (
        "Dere ringte etter forrige undersøkelse, og en uke senere var problemet løst. Sånt husker man.",
        "Det tok litt tid, men nå bruker alle her det.",
        "De nye rapportene var akkurat det vi manglet.",
        "Etter gjennomgangen med dere får vi endelig full nytte av det.",
    ),
}

DUTCH: dict[str, tuple[str, ...]] = {
    "detractor": (
        "Drie dagen gewacht op antwoord van de helpdesk.",
        "Na de laatste update werkte onze export niet meer, en niemand had ons gewaarschuwd.",
        "Te veel kleine fouten. We zijn meer tijd kwijt aan omwegen dan aan ons werk.",
        "De factuur klopte twee keer achter elkaar niet.",
        "Het wordt traag zodra er meer dan een paar mensen inloggen.",
    ),
    "passive": (
        "Prima.",
        "Doet wat het moet doen.",
        "Goed, maar ik begin er niet uit mezelf over.",
        "Tot nu toe oké.",
    ),
    "expectations_met": (
        "Het doet waarvoor we het gekocht hebben. Niet meer en niet minder.",
        "Zoals verwacht. Nog niet verrast.",
        "We hebben gekregen wat was afgesproken.",
        "Degelijk, maar niet iets wat ik anderen zou aanraden.",
    ),
    "no_major_problems": (
        "Eigenlijk niets te klagen.",
        "Het werkt. Soms een hikje, maar niets ernstigs.",
        "Niks mis mee.",
        "De rapportages kunnen beter, verder prima.",
    ),
    "indifferent": (
        "Ik gebruik het omdat het er al was.",
        "Eén van de vele programma's.",
        "Ik heb er geen uitgesproken mening over.",
        "Had net zo goed een andere leverancier kunnen zijn.",
    ),
    "needs_more_time": (
        "We zijn net begonnen, vraag het over een paar maanden nog eens.",
        "Te vroeg om te zeggen. De helft van het team werkt er nog niet mee.",
        "Nog een beetje zoeken in de instellingen.",
        "De start ging goed, nu nog zien hoe het in de praktijk gaat.",
    ),
    "value_for_price": (
        "Goed product, maar de prijs is flink opgelopen.",
        "We betalen voor veel dat we niet gebruiken.",
        "Wat aan de dure kant voor een team van vijf.",
        "Had een 9 gekregen als rapportages in ons pakket zaten.",
    ),
    "promoter": (
        "Scheelt ons uren per week.",
        "De helpdesk kende onze situatie en had het in één keer opgelost.",
        "Ik heb het al aan twee collega's aangeraden.",
        "Makkelijk in gebruik en het werkt gewoon.",
    ),
    "converted": (
        "Na de vorige enquête werd ik gebeld en binnen een week was het opgelost. Dat waardeer ik.",
        "Het duurde even, maar nu gebruikt iedereen hier het.",
        "De nieuwe rapportages waren precies wat we misten.",
        "Sinds de uitleg van jullie team halen we er eindelijk alles uit.",
    ),
}

COMMENTS: dict[str, dict[str, tuple[str, ...]]] = {"en": ENGLISH, "nb": NORWEGIAN, "nl": DUTCH}
"""By language; who answers in another language leaves no comment."""
