import time, json
import byzer_magic as bz
from byzer_magic.spec import DeploySpec
from byzer_magic.types import Ready
from tests.models import speech, whisper
from tests.ray.test_deploy import deploy
def test_it(manager):
    for alias,kind,path in (("ear","custom/whisper",whisper.tiny_en()),("ear2","custom/whisper",whisper.tiny_en_ct2()),("mouth","custom/piper",speech.voice())):
        t=time.time()
        ev=deploy(manager,DeploySpec(model=alias,pretrained_model_type=kind,infer_backend="transformers" if alias=="ear" else None,model_path=str(path),cpus_per_worker=0.001))
        for e in ev: print(e)
        print(alias,time.time()-t); assert isinstance(ev[-1],Ready)
    said=bz.model("mouth").speak("Hello there. The boats moved gently against the wooden pier.")
    print(said)
    import wave,io; w=wave.open(io.BytesIO(said.data)); print(w.getparams())
    for a in ("ear","ear2"):
        r=bz.model(a).transcribe(said.data); print(r.text, r.output)
        r=bz.model(a).chat(json.dumps({"audio":"data:audio/wav;base64,"+said.output})); print("old habit:",r.output)
    r=bz.model("mouth").chat(json.dumps({"input":"Hello.","response_format":"mp3"})); print(type(r), r, r.output[:40])
