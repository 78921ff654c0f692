"""The table of the API's doors: every method that changes something, how it is called, and who may call it.

A row is one logical action, said to all three wires in the same words; `tag` names what it is about, so that one wire
does not get in the way of another. Applications are in prod unless their name says otherwise.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .cluster import ARGOCD, path_of
from .doors import AUTOMATED, STAGING
from .processes import eventually
from .stage import HISTORY, PARENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from .stage import Stage

Json = dict[str, Any]
_SELF = {"group": "argoproj.io", "kind": "Application", "version": "v1alpha1", "namespace": ARGOCD}
_SETTINGS = {"group": "", "kind": "ConfigMap", "version": "v1", "namespace": "doors-prod"}
_CHILD = "heal-child-prod"


def _nothing(stage: Stage, tag: str) -> None:
    """Nothing to prepare, or to look at."""


@dataclass(frozen=True)
class Row:
    """One action on one method."""

    operation: str
    kind: str
    """Which of the actions that the method can be; together with the method, the name of the row."""
    fields: Callable[[Stage, str], Json]
    """The message, as REST has it."""
    before: Callable[[Stage, str], None] = _nothing
    """Makes what the call is about."""
    after: Callable[[Stage, str], None] = _nothing
    """Checks what the permitted call has done, and undoes what would disturb the next."""
    may: str = "rita"
    """Who may, given evidence where it is needed; nobody if empty."""
    may_not: str = "alice"
    evidence: bool = False
    """Whether it needs evidence: refused without, goes through with it."""
    of_old: str = ""
    """The evidence is about what has rolled out a commit before there was a gate, and not about the newest commit."""
    code: int = 7
    """The code of the refusal of who may not."""
    upstream: bool = True
    """Whether Argo CD takes the permitted call; some only reach it, since this machine lacks what they need."""
    lost_by_rest: bool = False
    """Over REST, Argo CD looks for the address as it is encoded in the path, and does not find it."""

    @property
    def name(self) -> str:
        return f"{self.operation.replace('Service.', '.')}-{self.kind}".rstrip("-")


# --- applications: what moves what runs


def _is_at_head(stage: Stage, tag: str) -> None:
    stage.doors.rolled_out(tag, stage.head)


def _came_by_itself(stage: Stage, tag: str) -> None:
    state = stage.doors.rolled_out(tag, stage.head)
    assert state["operation"]["initiatedBy"].get("automated") is True, state["operation"]
    stage.doors.remove(tag)


def _parent_of_one(stage: Stage, tag: str) -> None:
    """A parent whose only child, TAG, is there."""
    child = stage.doors.application(tag, "prod")
    stage.doors.create(child)
    file = f"parents/{tag}/{tag}.yaml"
    stage.doors.repository.write(file, json.dumps(child), f"A parent of {tag}")
    parent = stage.doors.parent(f"{tag}-parent", "staging", folder=tag)
    name = stage.doors.create(parent)
    tracked = {
        "metadata": {"annotations": {"argocd.argoproj.io/tracking-id": f"{name}:argoproj.io/Application:argocd/{tag}"}}
    }
    stage.doors.kubernetes.patch_application(tag, tracked)
    stage.doors.compared(name, stage.head)
    eventually("the parent has its child", lambda: stage.doors.status(name).get("resources"))


def _armed_child(stage: Stage, tag: str) -> None:
    """The same, and the child has synced by itself."""
    _parent_of_one(stage, tag)
    stage.prove()
    stage.doors.arm(tag)
    stage.doors.rolled_out(tag, stage.head)


def _armed(stage: Stage, tag: str) -> Json:
    return {**stage.spec(tag), "syncPolicy": {"automated": {}}}


def _whole(stage: Stage, tag: str, **spec: Any) -> Json:
    live = stage.doors.kubernetes.application(tag)
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "labels")}
    return {"metadata": metadata, "spec": {**live["spec"], **spec}}


def _numbered(name: str, tag: str) -> str:
    """The application of that name that belongs to a wire, whatever the row."""
    return f"{name}-{['grpc', 'web', 'rest'].index(tag.rsplit('-', 1)[1])}"


def _history(tag: str) -> str:
    return _numbered(HISTORY, tag)


def _rollout_action(name: str, action: str) -> Json:
    rollout = {"group": "argoproj.io", "kind": "Rollout", "version": "v1alpha1", "namespace": "doors-prod"}
    return {"name": name, "resourceName": f"{name}-app", "action": action, **rollout}


def _is_resumed(stage: Stage, name: str) -> None:
    assert stage.rollout(name)["spec"]["paused"] is False


def _half_way(stage: Stage, name: str) -> None:
    """What the controller of Argo Rollouts would have written."""
    path = path_of("rollouts", f"{name}-app", namespace="doors-prod")
    stage.doors.kubernetes.merge(f"{path}/status", {"status": {"observedGeneration": "1"}})


def _is_promoted(stage: Stage, name: str) -> None:
    assert stage.rollout(name)["status"]["promoteFull"] is True


def _is_restarted(stage: Stage, name: str) -> None:
    assert stage.rollout(name)["spec"]["restartAt"]


def _root(stage: Stage, _: str) -> None:
    """A parent in staging with children in staging and in prod that sync by themselves."""
    if not stage.live("applications", "root"):
        stage.doors.create(stage.doors.parent("root", "staging"))
    stage.doors.compared("root", stage.head)


def _root_is_rolled_out(stage: Stage, _: str) -> None:
    for environment in ("staging", "prod"):
        name = f"root-child-{environment}"
        # What a child of the same name has left is in sync without another operation.
        stage.doors.in_sync(name, stage.head)
        eventually(f"{name} is there", lambda n=name, e=environment: stage.doors.value(n, e))
    # The next wire shall roll it out again, and not find it done.
    stage.doors.remove("root-child-staging", "root-child-prod")


def _is_old(stage: Stage, tag: str) -> None:
    stage.doors.rolled_out(_history(tag), stage.old[HISTORY])


def _child_is_at_head(stage: Stage, _: str) -> None:
    assert stage.doors.rolled_out(_CHILD, stage.head)["phase"] == "Succeeded"


def _child_came_by_itself(stage: Stage, _: str) -> None:
    stage.doors.rolled_out(_CHILD, stage.head)
    _disarm(stage, _CHILD)
    # The next wire shall move it again.
    stage.doors.kubernetes.delete(path_of("configmaps", f"{_CHILD}-settings", namespace="doors-prod"))


def _disarm(stage: Stage, name: str) -> None:
    stage.doors.kubernetes.patch_application(name, {"spec": {"syncPolicy": None}})


def _set_came(stage: Stage, tag: str) -> None:
    eventually("the set has made its application", lambda: stage.live("applications", f"{tag}-child-prod"))
    stage.doors.rolled_out(f"{tag}-child-prod", stage.head)
    stage.doors.kubernetes.delete(path_of("applicationsets", tag))
    stage.doors.remove(f"{tag}-child-prod")


def _merge(patch: Json) -> Json:
    return {"patch": json.dumps(patch), "patchType": "application/merge-patch+json"}


def _pinned_to_head(stage: Stage, tag: str) -> Json:
    spec = stage.spec(tag)
    return {
        "name": tag,
        "spec": {**spec, "source": {**spec["source"], "targetRevision": stage.head}},
        "validate": False,
    }


def _stays_at_old(stage: Stage, tag: str) -> None:
    stage.automated(tag, targetRevision=stage.head)


_NEED_EVIDENCE = [
    Row(
        "ApplicationService.Sync",
        "",
        lambda _, tag: {"name": tag},
        before=lambda s, t: s.plain(t),
        after=_is_at_head,
        evidence=True,
    ),
    Row(
        "ApplicationService.Sync",
        "pruning",
        lambda stage, tag: {"name": tag, "prune": True, "revision": stage.head},
        before=lambda s, t: s.plain(t),
        after=_is_at_head,
        evidence=True,
    ),
    Row(
        "ApplicationService.Rollback",
        "",
        lambda _, tag: {"name": _history(tag), "id": 0},
        after=_is_old,
        evidence=True,
        of_old=HISTORY,
    ),
    Row(
        "ApplicationService.Create",
        "automated",
        lambda stage, tag: {"application": stage.doors.application(tag, "prod", AUTOMATED)},
        after=_came_by_itself,
        evidence=True,
    ),
    Row(
        "ApplicationService.Update",
        "arming",
        lambda stage, tag: {"application": _whole(stage, tag, syncPolicy={"automated": {}})},
        before=lambda s, t: s.plain(t),
        after=_came_by_itself,
        evidence=True,
    ),
    Row(
        "ApplicationService.UpdateSpec",
        "arming",
        lambda stage, tag: {"name": tag, "spec": _armed(stage, tag)},
        before=lambda s, t: s.plain(t),
        after=_came_by_itself,
        evidence=True,
    ),
    Row(
        "ApplicationService.Patch",
        "arming",
        lambda _, tag: {"name": tag, "patch": '{"spec":{"syncPolicy":{"automated":{}}}}', "patchType": "merge"},
        before=lambda s, t: s.plain(t),
        after=_came_by_itself,
        evidence=True,
    ),
    Row(
        "ApplicationService.Patch",
        "arming-json",
        lambda _, tag: {
            "name": tag,
            "patch": '[{"op":"add","path":"/spec/syncPolicy","value":{"automated":{}}}]',
            "patchType": "json",
        },
        before=lambda s, t: s.plain(t),
        after=_came_by_itself,
        evidence=True,
    ),
    *(
        Row(
            f"ApplicationService.RunResourceAction{version}",
            "toggle-auto-sync-on",
            lambda _, tag: {"name": f"{tag}-parent", "resourceName": tag, "action": "toggle-auto-sync", **_SELF},
            before=_parent_of_one,
            after=_came_by_itself,
            evidence=True,
        )
        for version in ("", "V2")
    ),
    Row(
        "ApplicationService.PatchResource",
        "operation-of-a-child",
        lambda stage, _: {
            "name": PARENT,
            "resourceName": _CHILD,
            **_SELF,
            **_merge({"operation": {"sync": {"revision": stage.head, "syncStrategy": {"hook": {}}}}}),
        },
        after=_child_is_at_head,
        evidence=True,
    ),
    Row(
        "ApplicationService.PatchResource",
        "arming-a-child",
        lambda _, __: {
            "name": PARENT,
            "resourceName": _CHILD,
            **_SELF,
            **_merge({"spec": {"syncPolicy": {"automated": {}}}}),
        },
        after=_child_came_by_itself,
        evidence=True,
    ),
    *(
        Row(
            f"ApplicationService.RunResourceAction{version}",
            "resume-a-rollout",
            lambda _, tag, kind=kind: _rollout_action(_numbered(kind, tag), "resume"),
            after=lambda stage, tag, kind=kind: _is_resumed(stage, _numbered(kind, tag)),
            evidence=True,
            of_old=kind,
        )
        for version, kind in (("", "resumed"), ("V2", "resumed-v2"))
    ),
    Row(
        "ApplicationService.RunResourceActionV2",
        "promote-a-rollout",
        lambda _, tag: _rollout_action(_numbered("promoted", tag), "promote-full"),
        before=lambda stage, tag: _half_way(stage, _numbered("promoted", tag)),
        after=lambda stage, tag: _is_promoted(stage, _numbered("promoted", tag)),
        evidence=True,
        of_old="promoted",
    ),
    Row(
        "ApplicationService.Sync",
        "of-a-root",
        lambda _, __: {"name": "root"},
        before=_root,
        after=_root_is_rolled_out,
        evidence=True,
    ),
    Row(
        "ApplicationSetService.Create",
        "automated",
        lambda stage, tag: {"applicationset": stage.set_of(tag, AUTOMATED)},
        after=_set_came,
        may="olga",
        evidence=True,
    ),
]

# --- applications: what needs no evidence

_FORGED = {"history": [{"id": 0, "revision": "0" * 40, "deployedAt": "2026-01-01T00:00:00Z"}]}
_STARTED = {"sync": {"revision": "0" * 40}}


def _is_gone(stage: Stage, tag: str) -> None:
    eventually(f"{tag} is gone", lambda: stage.live("applications", tag) is None)


def _is_there(stage: Stage, tag: str) -> None:
    assert stage.live("applications", tag)


def _has_limit(stage: Stage, tag: str) -> None:
    assert stage.spec(tag)["revisionHistoryLimit"] == 7


def _is_not_forged(stage: Stage, tag: str) -> None:
    _has_limit(stage, tag)
    application = stage.doors.kubernetes.application(tag)
    assert "operation" not in application
    assert not application["status"].get("history")


def _is_disarmed(stage: Stage, tag: str) -> None:
    assert stage.spec(tag)["syncPolicy"]["automated"]["enabled"] is False
    stage.doors.remove(tag)


def _resource_is_gone(stage: Stage, tag: str) -> None:
    eventually("the ConfigMap is gone", lambda: stage.doors.value(_history(tag)) is None)


def _child_is_gone(stage: Stage, tag: str) -> None:
    _is_gone(stage, tag)


def _slow(stage: Stage, tag: str) -> None:
    """An application in staging with an operation that does not end."""
    stage.doors.create(stage.doors.application(tag, "staging", path="slow"))
    answer = stage.client.http1.send(
        "POST",
        f"/api/v1/applications/{tag}/sync",
        [("authorization", f"Bearer {stage.token('alice')}"), ("content-type", "application/json")],
        b"{}",
    )
    assert answer.status == 200, answer
    eventually(
        "the operation runs", lambda: stage.doors.status(tag).get("operationState", {}).get("phase") == "Running"
    )


def _is_ended(stage: Stage, tag: str) -> None:
    assert stage.doors.settled(tag)["phase"] in {"Failed", "Error"}
    stage.doors.remove(tag)


_POLICY_ONLY = [
    Row(
        "ApplicationService.Get",
        "refresh",
        lambda _, tag: {"name": tag, "refresh": "normal"},
        before=lambda s, t: s.plain(t),
    ),
    Row(
        "ApplicationService.Create",
        "plain",
        lambda s, t: {"application": s.doors.application(t, "prod")},
        after=_is_there,
    ),
    Row(
        "ApplicationService.Update",
        "",
        lambda stage, tag: {"application": _whole(stage, tag, revisionHistoryLimit=7)},
        before=lambda s, t: s.plain(t),
        after=_has_limit,
    ),
    # The web UI sends the whole application as it has read it; of this, what is Argo CD's alone is left out.
    Row(
        "ApplicationService.Update",
        "operation-and-status",
        lambda s, t: {
            "application": {**_whole(s, t, revisionHistoryLimit=7), "operation": _STARTED, "status": _FORGED}
        },
        before=lambda s, t: s.plain(t),
        after=_is_not_forged,
    ),
    Row(
        "ApplicationService.UpdateSpec",
        "",
        lambda stage, tag: {"name": tag, "spec": {**stage.spec(tag), "revisionHistoryLimit": 7}},
        before=lambda s, t: s.plain(t),
        after=_has_limit,
    ),
    Row(
        "ApplicationService.Patch",
        "",
        lambda _, tag: {"name": tag, "patch": '{"spec":{"revisionHistoryLimit":7}}', "patchType": "merge"},
        before=lambda s, t: s.plain(t),
        after=_has_limit,
    ),
    Row(
        "ApplicationService.Delete",
        "",
        lambda _, tag: {"name": tag, "cascade": False},
        before=lambda s, t: s.plain(t),
        after=_is_gone,
    ),
    Row(
        "ApplicationService.Sync",
        "dry-run",
        lambda _, tag: {"name": tag, "dryRun": True},
        before=lambda s, t: s.plain(t),
        after=lambda s, t: None if s.doors.value(t) is None else _fail(t),
    ),
    Row(
        "ApplicationService.TerminateOperation",
        "",
        lambda _, tag: {"name": tag},
        before=_slow,
        after=_is_ended,
        may="alice",
        may_not="nick",
    ),
    *(
        Row(
            f"ApplicationService.RunResourceAction{version}",
            "toggle-auto-sync-off",
            lambda _, tag: {"name": f"{tag}-parent", "resourceName": tag, "action": "toggle-auto-sync", **_SELF},
            before=_armed_child,
            after=_is_disarmed,
        )
        for version in ("", "V2")
    ),
    Row(
        "ApplicationService.RunResourceAction",
        "restart",
        lambda _, tag: _rollout_action(_numbered("resumed", tag), "restart"),
        after=lambda stage, tag: _is_restarted(stage, _numbered("resumed", tag)),
    ),
    Row(
        "ApplicationService.PatchResource",
        "in-staging",
        lambda _, __: {
            "name": STAGING,
            "resourceName": f"{STAGING}-settings",
            **_SETTINGS,
            "namespace": "doors-staging",
            **_merge({"metadata": {"labels": {"tried": "yes"}}}),
        },
        may="alice",
        may_not="nick",
    ),
    Row(
        "ApplicationService.DeleteResource",
        "",
        lambda _, tag: {"name": _history(tag), "resourceName": f"{_history(tag)}-settings", **_SETTINGS},
        after=_resource_is_gone,
    ),
    Row(
        "ApplicationService.DeleteResource",
        "a-child",
        lambda _, tag: {"name": f"{tag}-parent", "resourceName": tag, **_SELF},
        before=_parent_of_one,
        after=_child_is_gone,
    ),
    Row(
        "ApplicationService.GetManifestsWithFiles",
        "",
        lambda _, tag: {"query": {"name": _history(tag), "checksum": "0" * 64}},
        may_not="nick",
        upstream=False,
    ),
]


# Whoever asks: no evidence, and no role, makes them right.
_NEVER = [
    Row(
        "ApplicationService.Create",
        "forged-status",
        lambda s, t: {"application": {**s.doors.application(t, "prod"), "status": _FORGED}},
        code=3,
        may_not="olga",
    ),
    Row(
        "ApplicationService.Create",
        "operation",
        lambda s, t: {"application": {**s.doors.application(t, "prod"), "operation": _STARTED}},
        code=3,
        may_not="olga",
    ),
    Row(
        "ApplicationService.Patch",
        "operation",
        lambda _, tag: {"name": tag, "patch": json.dumps({"operation": _STARTED}), "patchType": "merge"},
        before=lambda s, t: s.plain(t),
        code=3,
        may_not="olga",
    ),
    Row(
        "ApplicationService.PatchResource",
        "status-of-a-child",
        lambda _, __: {"name": PARENT, "resourceName": _CHILD, **_SELF, **_merge({"status": _FORGED})},
        code=3,
        may_not="olga",
    ),
    Row(
        "ApplicationService.PatchResource",
        "what-is-in-git",
        lambda _, tag: {
            "name": _history(tag),
            "resourceName": f"{_history(tag)}-settings",
            **_SETTINGS,
            **_merge({"data": {"VALUE": "patched"}}),
        },
        code=9,
        may_not="olga",
    ),
    Row(
        "ApplicationService.Sync",
        "local",
        lambda _, tag: {"name": tag, "manifests": ['{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"}}']},
        before=lambda s, t: s.plain(t),
        may_not="olga",
    ),
]


def _fail(what: str) -> None:
    raise AssertionError(f"{what} was rolled out")


# --- Argo CD itself


def _api_server(stage: Stage) -> str:
    """The cluster's other name."""
    return f"https://127.0.0.1:{urlsplit(stage.rig['kubernetes']['url']).port}"


def _cluster(stage: Stage, **labels: str) -> Json:
    config = {"bearerToken": stage.rig["kubernetes"]["token"], "tlsClientConfig": {"insecure": True}}
    return {"server": _api_server(stage), "name": "again", "config": config, "labels": labels}


def _has_cluster(stage: Stage, _: str) -> None:
    assert stage.kept(_api_server(stage))
    for item in stage.doors.kubernetes.get(path_of("secrets"))["items"]:
        if item["metadata"]["name"].startswith("cluster-127.0.0.1-"):
            stage.doors.kubernetes.delete(path_of("secrets", item["metadata"]["name"]))


def _known_cluster(stage: Stage, tag: str) -> None:
    stage.secret(tag, "cluster", server=f"https://{tag}.example", name=tag, config="{}")


def _project(stage: Stage, tag: str) -> None:
    stage.doors.kubernetes.create(path_of("appprojects"), _new_project(tag))


def _new_project(tag: str) -> Json:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": tag},
        "spec": {"description": "x"},
    }


def _changed_project(stage: Stage, tag: str) -> Json:
    live = stage.live("appprojects", tag)
    assert live
    metadata = {key: live["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
    return {"project": {"metadata": metadata, "spec": {"description": tag}}}


def _check(ok: Callable[[Stage, str], object]) -> Callable[[Stage, str], None]:
    def check(stage: Stage, tag: str) -> None:
        eventually(f"what the call on {tag} does", lambda: ok(stage, tag))

    return check


def _creds(tag: str) -> str:
    return f"https://git.example/{tag}"


def _repositories() -> list[Row]:
    """The nine calls on repositories and the six on their credentials: to read and to write, old names and new."""
    rows = []
    for name, kind in (("", "repository"), ("Repository", "repository"), ("WriteRepository", "repository-write")):

        def known(stage: Stage, tag: str, kind: str = kind) -> None:
            stage.secret(tag, kind, type="git", url=stage.repository(tag))

        service = "RepositoryService."
        rows += [
            Row(
                f"{service}Create{name}",
                "",
                lambda stage, tag: {
                    "repo": {"repo": stage.repository(tag), "type": "git", "username": "x", "password": "y"}
                },
                after=_check(lambda stage, tag: stage.kept(stage.repository(tag))),
            ),
            Row(
                f"{service}Update{name}",
                "",
                lambda stage, tag: {"repo": {"repo": stage.repository(tag), "type": "git", "username": tag}},
                before=known,
                after=_check(lambda stage, tag: stage.kept(stage.repository(tag), tag)),
            ),
            Row(
                f"{service}Delete{name}",
                "",
                lambda stage, tag: {"repo": stage.repository(tag)},
                before=known,
                after=_check(lambda stage, tag: not stage.kept(stage.repository(tag))),
            ),
        ]
    for name, kind in (("Repository", "repo-creds"), ("WriteRepository", "repo-write-creds")):

        def held(stage: Stage, tag: str, kind: str = kind) -> None:
            stage.secret(tag, kind, type="git", url=_creds(tag))

        service = "RepoCredsService."
        rows += [
            Row(
                f"{service}Create{name}Credentials",
                "",
                lambda _, tag: {"creds": {"url": _creds(tag), "username": tag}},
                after=_check(lambda stage, tag: stage.kept(_creds(tag), tag)),
            ),
            Row(
                f"{service}Update{name}Credentials",
                "",
                lambda _, tag: {"creds": {"url": _creds(tag), "username": tag}},
                before=held,
                after=_check(lambda stage, tag: stage.kept(_creds(tag), tag)),
                lost_by_rest=True,
            ),
            Row(
                f"{service}Delete{name}Credentials",
                "",
                lambda _, tag: {"url": _creds(tag)},
                before=held,
                after=_check(lambda stage, tag: not stage.kept(_creds(tag))),
            ),
        ]
    return rows


def _certificate(stage: Stage, tag: str) -> Json:
    pem = Path(stage.rig["argocd"]["ca"]).read_bytes()
    item = {"serverName": tag, "certType": "https", "certData": base64.b64encode(pem).decode()}
    return {"certificates": {"items": [item]}}


def _trusted(stage: Stage, tag: str) -> bool:
    return tag in stage.doors.kubernetes.get(path_of("configmaps", "argocd-tls-certs-cm")).get("data", {})


def _trust(stage: Stage, tag: str) -> None:
    pem = Path(stage.rig["argocd"]["ca"]).read_text()
    stage.doors.kubernetes.merge(path_of("configmaps", "argocd-tls-certs-cm"), {"data": {tag: pem}})


def _set(stage: Stage, tag: str) -> None:
    stage.doors.kubernetes.create(path_of("applicationsets"), stage.set_of(tag))
    _check(lambda s, t: s.live("applications", f"{t}-child-prod"))(stage, tag)


_ADMINISTER = [
    Row(
        "ProjectService.Create",
        "",
        lambda _, tag: {"project": _new_project(tag)},
        after=_check(lambda s, t: s.live("appprojects", t)),
    ),
    Row(
        "ProjectService.Update",
        "",
        _changed_project,
        before=_project,
        after=_check(lambda s, t: (s.live("appprojects", t) or {})["spec"]["description"] == t),
    ),
    Row(
        "ProjectService.Delete",
        "",
        lambda _, tag: {"name": tag},
        before=_project,
        after=_check(lambda s, t: not s.live("appprojects", t)),
    ),
    Row("ClusterService.Create", "", lambda stage, tag: {"cluster": _cluster(stage, tag=tag)}, after=_has_cluster),
    Row(
        "ClusterService.Update",
        "",
        lambda stage, _: {"cluster": _cluster(stage), "id": {"value": _api_server(stage)}},
        before=lambda stage, _: stage.secret("again", "cluster", server=_api_server(stage), name="old", config="{}"),
        after=_check(lambda stage, _: stage.kept(_api_server(stage), "again")),
    ),
    Row(
        "ClusterService.Delete",
        "",
        lambda _, tag: {"id": {"value": f"https://{tag}.example"}},
        before=_known_cluster,
        after=_check(lambda stage, tag: not stage.kept(f"https://{tag}.example")),
    ),
    Row(
        "ClusterService.RotateAuth",
        "",
        lambda _, tag: {"id": {"value": f"https://{tag}.example"}},
        before=_known_cluster,
        upstream=False,
    ),
    Row(
        "ClusterService.InvalidateCache",
        "",
        lambda _, tag: {"id": {"value": f"https://{tag}.example"}},
        before=_known_cluster,
        upstream=False,
    ),
    *_repositories(),
    Row(
        "RepositoryService.ValidateAccess",
        "",
        lambda stage, tag: {"repo": stage.repository(tag), "type": "git"},
        lost_by_rest=True,
    ),
    Row(
        "RepositoryService.ValidateWriteAccess",
        "",
        lambda stage, tag: {"repo": stage.repository(tag), "type": "git"},
        lost_by_rest=True,
    ),
    Row(
        "ApplicationSetService.Create",
        "plain",
        lambda stage, tag: {"applicationset": stage.set_of(tag)},
        after=_check(lambda s, t: s.live("applications", f"{t}-child-prod")),
    ),
    Row("ApplicationSetService.Generate", "", lambda stage, tag: {"applicationSet": stage.set_of(tag)}),
    Row(
        "ApplicationSetService.Delete",
        "",
        lambda _, tag: {"name": tag},
        before=_set,
        after=_check(lambda s, t: not s.live("applicationsets", t)),
    ),
    Row("CertificateService.CreateCertificate", "", _certificate, after=_check(_trusted)),
    Row(
        "CertificateService.DeleteCertificate",
        "",
        lambda _, tag: {"hostNamePattern": tag, "certType": "https"},
        before=_trust,
        after=_check(lambda s, t: not _trusted(s, t)),
    ),
    Row("GPGKeyService.Create", "", lambda _, __: {"publickey": {"keyData": "no key"}}, upstream=False),
    Row("GPGKeyService.Delete", "", lambda _, __: {"keyID": "0" * 16}, upstream=False),
]


_NOBODY = [
    Row("AccountService.CreateToken", "", lambda _, __: {"name": "syncgate", "expiresIn": 60, "id": "x"}),
    Row("AccountService.DeleteToken", "", lambda _, __: {"name": "syncgate", "id": "x"}),
    Row(
        "AccountService.UpdatePassword", "", lambda _, __: {"name": "admin", "currentPassword": "x", "newPassword": "y"}
    ),
    Row("ProjectService.CreateToken", "", lambda _, __: {"project": "doors", "role": "x"}),
    Row("ProjectService.DeleteToken", "", lambda _, __: {"project": "doors", "role": "x", "iat": 1}),
    Row("SessionService.Create", "", lambda _, __: {"username": "admin", "password": "x"}),
    Row("SessionService.Delete", "", lambda _, __: {}),
]


def _by(rows: list[Row], may: str, may_not: str) -> list[Row]:
    return [replace(row, may=may, may_not=may_not) for row in rows]


ROWS = [
    *_NEED_EVIDENCE,
    *_POLICY_ONLY,
    *_by(_ADMINISTER, may="olga", may_not="rita"),
    *_by(_NEVER, may="", may_not="olga"),
    *_by(_NOBODY, may="", may_not="olga"),
]
